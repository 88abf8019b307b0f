"""One fault that is planted on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]


class Misplaced(Exception):
    """The text of a fault is not what stands in its file."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A text that is put in the place of another.

    Attributes:
        what: the fault, in words.
        file: below the top of the tree.
        old: stands there once.
        new: stands there instead.
        tests: what pytest is given.
    """

    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def planted(self, root: Path = ROOT) -> str:
        """The file with the fault.  Raises: Misplaced."""
        try:
            text = (root / self.file).read_text(encoding="utf-8")
        except OSError as error:
            raise Misplaced(f"{self.file}: {error.strerror} ({self.what})") from None
        if (times := text.count(self.old)) != 1:
            raise Misplaced(f"{self.file}: stands there {times} times: {self.old!r} ({self.what})")
        return text.replace(self.old, self.new)

    def line(self, root: Path = ROOT) -> int:
        """The line on which it begins to differ; 0 when the text has gone meanwhile."""
        text = (root / self.file).read_text(encoding="utf-8")
        if self.old not in text:
            return 0
        pairs = enumerate(zip(self.old, self.new, strict=False))
        same = next((at for at, (old, new) in pairs if old != new), 0)
        return text.count("\n", 0, text.index(self.old) + same) + 1


def faults(file: str, tests: Sequence[str], *planted: tuple[str, str, str]) -> list[Fault]:
    """Several in one file with the same tests: (what, old, new) each."""
    return [Fault(what, file, old, new, tuple(tests)) for what, old, new in planted]
