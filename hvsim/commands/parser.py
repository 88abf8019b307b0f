"""The parser of a verb's words, whose help and complaints pass the door to the person.

A module of its own: who is asked for a listing with a syntax of its own needs no argparse.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

from hvsim.printable import ECHOED, printable
from hvsim.speak import say, warn

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_WIDTH: Final = 80
"""Columns of a terminal that does not say how many it has."""
_MARGIN: Final = 2
_LONG: Final = re.compile(rf"(\S{{{ECHOED}}})\S{{20,}}")


class Paragraphs(argparse.HelpFormatter):
    """Fills the paragraphs of a text for the width of the screen.  What is indented (examples,
    tables) and the head of an example stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(paragraphs(text, width))


def paragraphs(text: str, width: int) -> list[str]:
    """The lines of *text*, whose paragraphs are filled up to *width* characters."""
    import textwrap

    lines: list[str] = []
    together: list[str] = []
    for one in [*text.split("\n"), ""]:
        if one and not one.startswith(" "):
            together.append(one)
            continue
        lines += textwrap.wrap(" ".join(together), width, break_on_hyphens=False)
        lines.append(one.rstrip())
        together = []
    return lines[:-1]


class Parser(argparse.ArgumentParser):
    """A parser whose help and complaints, which repeat what was typed, pass the door."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**({"formatter_class": Paragraphs} | more))

    def words(self) -> list[argparse.Action]:
        """Everything that may be written: options, and what has a place of its own."""
        return list(self._actions)

    def verbs(self) -> dict[str, Parser]:
        """The parsers below this one, by name."""
        return {
            name: below
            for action in self._actions
            if isinstance(action, argparse._SubParsersAction)
            for name, below in action.choices.items()
        }

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, on one line, and end with status 2.  Of a long
        word that was typed its beginning is repeated."""
        super().error(_LONG.sub(r"\1...", printable(message)))

    def _get_formatter(self) -> argparse.HelpFormatter:
        # With the width told: argparse would import shutil to find it, also when no help is shown.
        return self.formatter_class(prog=self.prog, width=columns() - _MARGIN)  # type: ignore[call-arg]

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        if message:
            tell = say if file is sys.stdout else warn
            tell(*message.removesuffix("\n").split("\n"))


def columns() -> int:
    """As ``shutil.get_terminal_size``: COLUMNS, else the terminal's own word, else 80."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    try:
        return os.get_terminal_size(1).columns or _WIDTH
    except OSError:
        return _WIDTH
