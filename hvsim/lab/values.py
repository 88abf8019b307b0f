"""What no value of a lab file may be, whatever its key: a text with a NUL, a number that fits
nowhere, tables without end.  Pure.

A path, a name or a word of a command line that holds a NUL would end there for the kernel; the
other things would come out much later, as an error of somebody who cannot say where they stand.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Final

from hvsim.lab.problems import Fault
from hvsim.names.size import bytes_of, mib_of

DEPTH_MAX: Final = 16
"""Tables and lists within each other."""
TABLES_MAX: Final = 1000
"""Entries of [[image]] and of [[domain]]."""
_INT_MAX: Final = 2**63 - 1

MEMORY_MAX: Final = 1 << 20
"""MiB, as in the schema, which cannot say it of a text."""
SIZE_MAX: Final = 1 << 53
"""Bytes of an image."""

Path = tuple[str | int, ...]


def faults(data: dict[str, object]) -> Iterator[Fault]:
    """Everything that is wrong with the values of a file; one for each place."""
    for kind in ("image", "domain"):
        tables = data.get(kind)
        if isinstance(tables, list) and len(tables) > TABLES_MAX:
            yield (kind,), f"{len(tables)} tables are too many", f"{TABLES_MAX} is the most"
            return
    todo: list[tuple[Path, object]] = [((), data)]
    while todo:
        path, value = todo.pop()
        if len(path) > DEPTH_MAX:
            yield path[:3], f"is nested deeper than {DEPTH_MAX}", "take some levels out"
            return
        if isinstance(value, dict):
            for key in value:
                if "\0" in key:
                    yield path, "has a key with a NUL character", "take it out"
            todo += [((*path, key), one) for key, one in value.items()]
        elif isinstance(value, list):
            todo += [((*path, index), one) for index, one in enumerate(value)]
        elif isinstance(value, str):
            if "\0" in value:
                yield path, "holds a NUL character", "take it out"
            elif _too_large(path, value):
                yield path, f"{value} is more than any machine has", "write less"
        elif isinstance(value, int):
            if not -_INT_MAX <= value <= _INT_MAX:
                yield path, "is too large a number", "64 bits hold the largest"
            elif _too_large(path, value):
                yield path, f"{value} is more than any machine has", "write less"
        elif isinstance(value, datetime.date | datetime.time):
            yield path, "is a date or a time", "write it as a text, in quotes"


def _too_large(path: Path, value: int | str) -> bool:
    """Of the sizes of memories and images; whether one is a size at all is the schema's to say."""
    try:
        if path[-1:] == ("memory",):
            return mib_of(value) > MEMORY_MAX
        return path[:1] == ("image",) and path[2:] == ("size",) and bytes_of(value) > SIZE_MAX
    except ValueError:
        return False
