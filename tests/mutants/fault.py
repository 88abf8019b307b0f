"""One planted fault, and what becomes of a tree that has it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
TIMEOUT: Final = 150.0
"""Seconds after which the tests of one fault are ended; that they hang is noticed as well."""
_NOT_COPIED: Final = (".git", ".venv*", ".*_cache", ".hypothesis", "build", "dist", "site")
_PASSED, _FAILED = 0, 1


class Verdict(Enum):
    """What the named tests make of a tree."""

    NOTICED = "noticed"
    SURVIVED = "survived"
    BROKEN = "its tests do not run"


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


class Copy:
    """A copy of the tree that faults are planted in."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "tree"
        ignored = shutil.ignore_patterns(*_NOT_COPIED)
        shutil.copytree(ROOT, self.root, symlinks=True, ignore=ignored)

    def judge(self, fault: Fault) -> Verdict:
        """Plant a fault, run its tests, and take it out again.  Raises: Misplaced."""
        path = self.root / fault.file
        path.write_text(fault.planted(self.root), encoding="utf-8")
        try:
            return self.run(fault.tests)
        finally:
            shutil.copy2(ROOT / fault.file, path)  # its compiled form is valid again

    def run(self, tests: Sequence[str]) -> Verdict:
        """What the tests make of the tree as it is."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        command += ["--hypothesis-seed=0"]  # the same verdict each time
        with subprocess.Popen(
            [*command, "--timeout=60", *tests],
            cwd=self.root,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "HVSIM_TEST_SETTLE": "-1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                status = process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                status = _FAILED
        if status == _PASSED:
            return Verdict.SURVIVED
        return Verdict.NOTICED if status == _FAILED else Verdict.BROKEN


def faults(file: str, tests: Sequence[str], *planted: tuple[str, str, str]) -> list[Fault]:
    """Several in one file with the same tests: (what, old, new) each."""
    return [Fault(what, file, old, new, tuple(tests)) for what, old, new in planted]
