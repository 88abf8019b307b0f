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
from pathlib import Path
from queue import SimpleQueue
from typing import Final, TypeVar

from tests.mutants.fault import Copy, Fault, Misplaced, Verdict
from tests.mutants.faults import FAULTS

AT_LEAST: Final = 95
"""Percent of the faults that must be noticed."""
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
    with tempfile.TemporaryDirectory(prefix="hvsim-mutants-") as folder:
        return _judge(faults, Crew(Path(folder), options.jobs), began)


def misplaced(faults: Iterable[Fault]) -> Iterable[str]:
    """A line for each whose text is not what stands in its file."""
    for fault in faults:
        try:
            fault.planted()
        except Misplaced as error:
            yield str(error)


class Crew:
    """Several copies of the tree, each of which has one job at a time."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self._jobs = jobs
        self._free: SimpleQueue[Copy] = SimpleQueue()
        for number in range(jobs):
            (folder / str(number)).mkdir()
            self._free.put(Copy(folder / str(number)))

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
    tests = list(dict.fromkeys(fault.tests for fault in faults))
    red = [
        names for names, verdict in crew.each(tests, Copy.run) if verdict is not Verdict.SURVIVED
    ]
    for names in red:
        print(f"red without any fault: {' '.join(names)}", file=sys.stderr)
    if red:
        return 2
    status = verdicts(crew.each(faults, Copy.judge))
    print(f"in {time.monotonic() - began:.0f} s")
    return status


def verdicts(found: Iterable[tuple[Fault, Verdict]]) -> int:
    """Tell of each that was not noticed, and how many were; the exit status."""
    noticed = total = 0
    for fault, verdict in found:
        total += 1
        noticed += verdict is Verdict.NOTICED
        if verdict is not Verdict.NOTICED:
            place = f"{fault.file}:{fault.line()}"
            print(f"{verdict.value}: {place}: {fault.what}  ({' '.join(fault.tests)})", flush=True)
    print(f"{noticed} of {total} planted faults were noticed")
    return 0 if noticed * 100 >= AT_LEAST * total else 1


def _is_meant(fault: Fault, words: Sequence[str]) -> bool:
    return not words or any(word in f"{fault.file} {fault.what}" for word in words)


if __name__ == "__main__":
    sys.exit(main())
