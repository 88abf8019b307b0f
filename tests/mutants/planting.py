"""One planted fault: what it is, and whether the tests notice it."""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PLANTED: Final = Path(__file__).parent / "planted"
TIMEOUT: Final = 120.0
"""Seconds that the tests of one fault may take; a fault that makes them hang is noticed."""
_COPIED: Final = ("hvsim", "domains", "tests", "benchmarks", "configs", "pyproject.toml")


class BadPlant(Exception):
    """A fault that cannot be planted as it is written down."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A text of one file, and what takes its place.

    Attributes:
        file: below the root of the repository.
        old: occurs in it exactly once.
        new: the fault.
        tests: what must notice it, as pytest takes it.
        where: the file of the list, and the number in it, for people.
    """

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    where: str

    def line(self, root: Path = ROOT) -> int:
        """The line where *old* begins.  Raises: BadPlant."""
        text = self._text(root)
        return text[: text.index(self.old)].count("\n") + 1

    def plant(self, root: Path) -> None:
        """Raises: BadPlant."""
        text = self._text(root)
        (root / self.file).write_text(text.replace(self.old, self.new), encoding="utf-8")

    def _text(self, root: Path) -> str:
        try:
            text = (root / self.file).read_text(encoding="utf-8")
        except OSError as gone:
            raise BadPlant(f"{self.where}: {self.file}: {gone.strerror}") from None
        if text.count(self.old) != 1 or self.old == self.new:
            times = text.count(self.old)
            raise BadPlant(f"{self.where}: {self.old!r} is {times} times in {self.file}, not once")
        return text


def all_faults(folder: Path = PLANTED) -> Iterator[Fault]:
    """Every fault of the lists.  Raises: BadPlant for one that lacks something."""
    for path in sorted(folder.glob("*.toml")):
        with open(path, "rb") as file:
            data = tomllib.load(file)
        for number, row in enumerate(data["fault"], 1):
            where = f"{path.name}, fault {number}"
            tests = row.get("tests", data.get("tests"))
            name = row.get("file", data.get("file"))
            if not (tests and name and row.get("old")) or "new" not in row:
                raise BadPlant(f"{where}: it needs file, old, new and tests")
            yield Fault(name, row["old"], row["new"], tuple(tests), where)


class Garden:
    """A copy of the tree, in which one fault at a time is planted and taken out again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, root / name)

    def notices(self, fault: Fault) -> bool:
        """Whether a test goes red with it.  Raises: BadPlant, also for tests that do not exist."""
        path = self.root / fault.file
        before = (ROOT / fault.file).read_bytes()
        fault.plant(self.root)
        try:
            return self._red(fault)
        finally:
            path.write_bytes(before)

    def _red(self, fault: Fault) -> bool:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        environment = {**os.environ, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                [*command, *fault.tests],
                cwd=self.root,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            return True
        # 1: red; 2: a test file cannot even be loaded, which is noticed too.
        if done.returncode not in (0, 1, 2) or "ERROR: not found" in done.stderr:
            raise BadPlant(f"{fault.where}: pytest: {done.stdout}{done.stderr}")
        return done.returncode != 0
