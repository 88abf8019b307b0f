"""What is wrong with a lab file, said so that the reader can mend it."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from hvsim.errors import HvsimError

SHOWN: Final = 100
"""Problems that are told of one lab file; the rest is counted."""

Fault = tuple[tuple[str | int, ...], str, str]
"""Path in the lab file, what is wrong there, the remedy."""


class Problem(NamedTuple):
    """One fault: the file and line, the place inside it, what is wrong, and the remedy."""

    file: str
    line: int
    place: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        said = f"{where}: {self.place}: {self.text}" if self.place else f"{where}: {self.text}"
        return f"{said}; {self.remedy}" if self.remedy else said


class LabFileError(HvsimError):
    """A lab file is refused. `problems` holds every fault found, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        shown = list(map(str, self.problems[:SHOWN]))
        if len(self.problems) > SHOWN:
            shown.append(f"... and {len(self.problems) - SHOWN} more")
        super().__init__(*shown)
