"""What the verbs share: the --lab option, the conversation with a lab, and what is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hvsim.lab.rundir import RunDir
from hvsim.speak import say, table, tell, tell_table, warn
from hvsim.speak import say_json as print_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from hvsim.lab.control import Control

__all__ = [
    "control_of", "count", "daemon_options", "json_option", "lab_option",
    "positive", "print_json", "say", "seconds", "seed", "table", "tell", "tell_table",
    "warn", "writable",
]  # fmt: skip


def lab_option(parser: argparse.ArgumentParser) -> None:
    """`--lab NAME`."""
    parser.add_argument(
        "--lab", metavar="NAME", help="the lab (default: HVSIM_LAB, or the only one that runs)"
    )


def daemon_options(parser: argparse.ArgumentParser) -> None:
    """`--store` and `--console`: which daemons dom0 consists of."""
    parser.add_argument(
        "--store",
        choices=("builtin", "xenstored", "oxenstored"),
        help="the daemon that is the store, whatever the lab file says (the latter two: Debian's)",
    )
    parser.add_argument(
        "--console",
        choices=("builtin", "xenconsoled"),
        help="the daemon that serves the consoles, whatever the lab file says",
    )


def json_option(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def control_of(run: RunDir) -> Control:
    """A conversation with the toolstack of `run`, which ends when the lab ends."""
    from hvsim.lab.control import Control

    return Control(run.control, alive=lambda: run.running, waits=run.waits())


def writable(paths: Iterable[str | None]) -> None:
    """Whoever is to be told of something long in a file learns at once that it cannot be written.

    Raises: HvsimError.
    """
    import os
    from pathlib import Path

    from hvsim.errors import HvsimError

    for path in filter(None, paths):
        folder = Path(path).parent
        touched: str | Path = path
        try:
            os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            touched = folder
        except OSError as failure:  # a name that is too long, links in a circle
            raise HvsimError(f"{path}: {failure.strerror}; name another file") from None
        if not os.path.isdir(folder):
            raise HvsimError(f"{path}: there is no directory {folder}; make it, or name another")
        if os.path.isdir(path):
            raise HvsimError(f"{path}: a directory; name a file in it")
        if not os.access(touched, os.W_OK):
            raise HvsimError(f"{path}: you may not write there; name another file")


def positive(text: str) -> int:
    """A number from 1, for argparse."""
    return _whole(text, 1, 1 << 63)


def count(text: str) -> int:
    """How many, from 0, for argparse."""
    return _whole(text, 0, 1 << 31)


def seed(text: str) -> int:
    """A seed, for argparse."""
    return _whole(text, 0, 1 << 31)


def _whole(text: str, least: int, end: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number < end:
        import argparse

        wanted = f"a number from {least} to {end - 1} is wanted, not {text!r}"
        raise argparse.ArgumentTypeError(wanted)
    return number


def seconds(text: str) -> float:
    """A time that ends, for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        import argparse

        raise argparse.ArgumentTypeError(f"a number of seconds above 0 is wanted, not {text!r}")
    return number
