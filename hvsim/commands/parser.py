"""The parser of a verb's words, whose help and complaints pass the door to the person.

A module of its own: who is asked for a listing with a syntax of its own needs no argparse.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Final, NoReturn

from hvsim.printable import printable
from hvsim.speak import say, warn

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_WIDTH: Final = 80
"""Columns of a terminal that does not say how many it has."""
_MARGIN: Final = 2


class Parser(argparse.ArgumentParser):
    """A parser whose help and complaints, which repeat what was typed, pass the door."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, on one line, and end with status 2."""
        super().error(printable(message))

    def _get_formatter(self) -> argparse.HelpFormatter:
        # With the width told: argparse would import shutil to find it, also when no help is shown.
        return self.formatter_class(prog=self.prog, width=_columns() - _MARGIN)  # type: ignore[call-arg]

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        if message:
            tell = say if file is sys.stdout else warn
            tell(*message.removesuffix("\n").split("\n"))


def _columns() -> int:
    """As ``shutil.get_terminal_size``: COLUMNS, else the terminal's own word, else 80."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    try:
        return os.get_terminal_size(1).columns or _WIDTH
    except OSError:
        return _WIDTH
