"""A file that is written in TOML: which one is meant, its text, and its tables."""

import sys
import tomllib
from pathlib import Path
from typing import Any, Final

from hvsim import TREE, textfile
from hvsim.lab.locate import Locator
from hvsim.lab.problems import LabFileError, Problem
from hvsim.lab.schema import place_of
from hvsim.lab.values import faults


def source(path: Path) -> tuple[Path, str]:
    """The file that is meant, and its text.  Raises LabFileError."""
    file = _here_or_shipped(path)
    try:
        return file, textfile.read(file).replace("\r\n", "\n")
    except FileNotFoundError:
        missing = Problem(str(path), 0, "", "there is no such file", _others(file))
        raise LabFileError([missing]) from None
    except textfile.Unreadable as error:
        problem = Problem(str(path), 0, "", str(error), "give the path of a lab file")
        raise LabFileError([problem]) from None


def tables_of(path: str) -> dict[str, Any]:
    """The tables of a file, whatever they are.  Raises LabFileError."""
    return parsed(source(Path(path))[1], path)


def parsed(text: str, shown: str) -> dict[str, Any]:
    """The tables of a lab file, whose values are fit to be looked at.  Raises LabFileError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LabFileError([_syntax(shown, str(error))]) from None
    except RecursionError:
        deep = Problem(shown, 0, "", "not TOML: nested too deeply", "take some levels out")
        raise LabFileError([deep]) from None
    except ValueError:  # Python's own words are about its settings
        most = sys.get_int_max_str_digits()
        huge = Problem(
            shown, 0, "", f"not TOML: a number has more than {most} digits", "shorten it"
        )
        raise LabFileError([huge]) from None
    locator = Locator(text)
    problems = [
        Problem(shown, locator.line(path), place_of(path, data), said, remedy)
        for path, said, remedy in faults(data)
    ]
    if problems:
        raise LabFileError(problems)
    return data


def _here_or_shipped(file: Path) -> Path:
    """`configs/...` and `scenarios/...` are there for who has installed hvsim, too, and stands in
    no checkout."""
    shipped = Path(TREE) / file
    named = not file.is_absolute() and file.parts[:1] in (("configs",), ("scenarios",))
    return shipped if named and not file.exists() and shipped.exists() else file


_NO_LABS: Final = ("pyproject.toml", "device.toml")
"""Files of other kinds that stand beside labs."""


def _others(file: Path) -> str:
    try:
        there = (one for one in file.parent.glob("*.toml") if one.name not in _NO_LABS)
        found = sorted(map(str, there))
    except OSError:
        found = []
    return f"lab files there: {', '.join(found)}" if found else "give the path of a lab file"


def _syntax(file: str, text: str) -> Problem:
    """tomllib says "Expected '=' after a key in a key/value pair (at line 3, column 6)"."""
    message, _, at = text.partition(" (at line ")
    line, _, column = at.rstrip(")").partition(", column ")
    number = int(line) if line.isdigit() else 0
    place = f"column {column}" if column else ""
    return Problem(file, number, place, f"not TOML: {message}", "see https://toml.io")
