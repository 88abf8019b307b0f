"""A copy of the tree, and what its tests make of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Final

from hvsim.wire.closing import Closing
from tests.mutants.fault import ROOT, Fault

LIMIT: Final = 600.0
"""Seconds that tests may take which nobody has timed yet."""
_NOT_COPIED: Final = (".git", ".venv*", ".*_cache", ".hypothesis", "build", "dist", "site")
_PASSED, _FAILED = 0, 1


class Verdict(Enum):
    """What the named tests make of a tree."""

    NOTICED = "noticed"
    HANGS = "its tests do not end"
    SURVIVED = "survived"
    BROKEN = "its tests do not run"


class Copy(Closing):
    """A copy of the tree that faults are planted in; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "tree"
        ignored = shutil.ignore_patterns(*_NOT_COPIED)
        shutil.copytree(ROOT, self.root, symlinks=True, ignore=ignored)
        self._warm = subprocess.Popen(
            [sys.executable, "-P", str(ROOT / "tests/mutants/warm.py")],
            cwd=self.root,
            env={
                **os.environ,
                "PYTHONPATH": str(self.root),  # also what the tests start is of this tree
                "PYTHONDONTWRITEBYTECODE": "1",
                "HVSIM_TEST_SETTLE": "-1",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """The process that runs its tests ends."""
        self._warm.communicate()

    def judge(self, fault: Fault, limit: float = LIMIT) -> Verdict:
        """Plant a fault, run its tests, and take it out again.  Raises: Misplaced."""
        path = self.root / fault.file
        path.write_text(fault.planted(self.root), encoding="utf-8")
        try:
            return self._run(fault.tests, limit, keep=False)
        finally:
            shutil.copy2(ROOT / fault.file, path)  # its compiled form is valid again

    def run(self, tests: Sequence[str]) -> Verdict:
        """What the tests make of the tree as it is; compiled forms stay for the next."""
        return self._run(tests, LIMIT, keep=True)

    def _run(self, tests: Sequence[str], limit: float, *, keep: bool) -> Verdict:
        assert self._warm.stdin is not None
        assert self._warm.stdout is not None
        asked = {"tests": list(tests), "limit": limit, "keep": keep}
        print(json.dumps(asked), file=self._warm.stdin, flush=True)
        status = json.loads(self._warm.stdout.readline())
        if status is None:
            return Verdict.HANGS
        if status == _PASSED:
            return Verdict.SURVIVED
        return Verdict.NOTICED if status == _FAILED else Verdict.BROKEN
