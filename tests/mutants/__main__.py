"""``python -m tests.mutants``: plant every fault, print who survived.

Exit 0: enough were noticed.  1: too few.  2: a fault is out of place, or its tests do not pass
without it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Final, TypeVar

from hvsim.wire.closing import Closing
from tests.mutants.copy import LIMIT, Copy, Verdict
from tests.mutants.fault import Fault, Misplaced
from tests.mutants.faults import FAULTS

AT_LEAST: Final = 95
"""Percent of the faults that must be noticed."""
_TIMES: Final = 8
"""Tests that take so many times as long with a fault as without do not end."""
_LEAST_LIMIT: Final = 60.0
_Job = TypeVar("_Job")


def main(argv: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="only faults that have one of these in their text")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (2)")
    options = parser.parse_args(argv)
    faults = [fault for fault in FAULTS if _is_meant(fault, options.words)]
    if out_of_place := list(misplaced(faults)):
        print(*out_of_place, sep="\n", file=sys.stderr)
        return 2
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="hvsim-mutants-") as folder,
        Crew(Path(folder), options.jobs) as crew,
    ):
        return _judge(faults, crew, began)


def misplaced(faults: Iterable[Fault]) -> Iterable[str]:
    """A line for each whose text is not what stands in its file."""
    for fault in faults:
        try:
            fault.planted()
        except Misplaced as error:
            yield str(error)


class Crew(Closing):
    """Several copies of the tree, each of which has one job at a time; a context manager."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self._jobs = jobs
        self._free: SimpleQueue[Copy] = SimpleQueue()
        self._open = ExitStack()
        for number in range(jobs):
            (folder / str(number)).mkdir()
            self._free.put(self._open.enter_context(Copy(folder / str(number))))

    def close(self) -> None:
        """The copies are used no more."""
        self._open.close()

    def each(
        self, jobs: Sequence[_Job], judge: Callable[[Copy, _Job], Verdict]
    ) -> Iterable[tuple[_Job, Verdict]]:
        """The verdict on each, in their order, as they come."""

        def one(job: _Job) -> Verdict:
            copy = self._free.get()
            try:
                return judge(copy, job)
            finally:
                self._free.put(copy)

        with ThreadPoolExecutor(self._jobs) as pool:
            yield from zip(jobs, pool.map(one, jobs), strict=True)


def _judge(faults: Sequence[Fault], crew: Crew, began: float) -> int:
    seconds: dict[tuple[str, ...], float] = {}

    def without(copy: Copy, tests: tuple[str, ...]) -> Verdict:
        start = time.monotonic()
        verdict = copy.run(tests)
        seconds[tests] = time.monotonic() - start
        return verdict

    def limit(tests: tuple[str, ...]) -> float:
        return min(LIMIT, max(_LEAST_LIMIT, _TIMES * seconds[tests]))

    tests = list(dict.fromkeys(fault.tests for fault in faults))
    red = [names for names, verdict in crew.each(tests, without) if verdict is not Verdict.SURVIVED]
    for names in red:
        print(f"red without any fault: {' '.join(names)}", file=sys.stderr)
    if red:
        return 2
    status = verdicts(crew.each(faults, lambda copy, fault: copy.judge(fault, limit(fault.tests))))
    print(f"in {time.monotonic() - began:.0f} s")
    return status


def verdicts(found: Iterable[tuple[Fault, Verdict]]) -> int:
    """Tell of each that no test failed on, and how many were noticed; the exit status.

    That tests do not end is noticed as well, but it is told: a busy machine may be the reason.
    """
    noticed = total = 0
    for fault, verdict in found:
        total += 1
        noticed += verdict in (Verdict.NOTICED, Verdict.HANGS)
        if verdict is not Verdict.NOTICED:
            place = f"{fault.file}:{fault.line()}"
            print(f"{verdict.value}: {place}: {fault.what}  ({' '.join(fault.tests)})", flush=True)
    print(f"{noticed} of {total} planted faults were noticed, {AT_LEAST} % must be")
    return 0 if noticed * 100 >= AT_LEAST * total else 1


def _is_meant(fault: Fault, words: Sequence[str]) -> bool:
    return not words or any(word in f"{fault.file} {fault.what}" for word in words)


if __name__ == "__main__":
    sys.exit(main())
