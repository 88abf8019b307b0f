"""What the verbs share: the --lab option, the conversation with a lab, and tables."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hvsim.lab.rundir import RunDir

if TYPE_CHECKING:
    from hvsim.lab.control import Control


def lab_option(parser: argparse.ArgumentParser) -> None:
    """`--lab NAME`."""
    parser.add_argument(
        "--lab", metavar="NAME", help="the lab (default: HVSIM_LAB, or the only one that runs)"
    )


def json_option(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def control_of(run: RunDir) -> "Control":
    """A conversation with the toolstack of `run`, which ends when the lab ends."""
    from hvsim.lab.control import Control

    return Control(run.control, alive=lambda: run.running)


def print_json(value: Any) -> None:
    """`value` as indented JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


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
