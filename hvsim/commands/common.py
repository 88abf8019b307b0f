"""What the verbs share: the --lab option, the conversation with a lab, and what is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hvsim.lab.rundir import RunDir
from hvsim.speak import say, table, tell, tell_table, warn
from hvsim.speak import say_json as print_json

if TYPE_CHECKING:
    import argparse

    from hvsim.lab.control import Control

__all__ = [
    "control_of", "daemon_options", "json_option", "lab_option",
    "positive", "print_json", "say", "seconds", "table", "tell", "tell_table",
    "warn",
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


def positive(text: str) -> int:
    """A number from 1, for argparse."""
    number = int(text)
    if not 0 < number < 1 << 63:
        import argparse

        raise argparse.ArgumentTypeError("a number from 1 is wanted")
    return number


def seconds(text: str) -> float:
    """A time that ends, for argparse."""
    number = float(text)
    if not 0 < number < 1e9:
        import argparse

        raise argparse.ArgumentTypeError("a number of seconds above 0 is wanted")
    return number
