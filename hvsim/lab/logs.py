"""The ends of logs, for whoever reads why something failed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hvsim.printable import quoted

_TAIL: Final = 16 * 1024
"""Bytes that are looked at."""


def ends(files: Iterable[Path], lines: int) -> list[str]:
    """The last *lines* of each that has some, below a line that names it.

    Domains wrote some of them, so each is marked as quoted.  One that cannot be read is left out.
    """
    found = []
    for file in files:
        said = _tail(file)
        if said.strip():
            found += [f"--- {file.parent.name}/{file.name}", *quoted(said, "    ")[-lines:]]
    return found


def last_lines(file: Path, lines: int) -> list[str]:
    """The last *lines* of one log, fit to be shown; none when it has none or cannot be read."""
    said = _tail(file)
    return quoted(said, "")[-lines:] if said.strip() else []


def _tail(file: Path) -> bytes:
    try:
        with file.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - _TAIL))
            return log.read(_TAIL)
    except OSError:
        return b""
