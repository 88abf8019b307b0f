"""What the verbs share: the --lab option, the conversation with a lab, and tables."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hvsim.lab.model import BUILTIN
from hvsim.lab.problems import HvsimError
from hvsim.lab.rundir import RunDir

if TYPE_CHECKING:
    from hvsim.lab.control import Control


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


def needs_our_store(run: RunDir, what: str) -> None:
    """Raises HvsimError when the lab at `run` has a real daemon for its store."""
    if run.store != BUILTIN:
        raise HvsimError(
            f"{what} needs hvsim's own store, and lab {run.name} has {run.store}: "
            'start it with store = "builtin" under [lab]'
        )


def control_of(run: RunDir) -> "Control":
    """A conversation with the toolstack of `run`, which ends when the lab ends."""
    from hvsim.lab.control import Control

    return Control(run.control, alive=lambda: run.running)


def print_json(value: Any) -> None:
    """`value` as indented JSON; in ASCII, which every locale has and every program reads."""
    print(json.dumps(value, indent=2), flush=True)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Aligned columns with a head line."""
    texts = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in texts
    )


def say(text: str) -> None:
    """A line for the reader, out at once."""
    print(text, flush=True)


def warn(text: str) -> None:
    """A line on standard error."""
    print(text, file=sys.stderr, flush=True)
