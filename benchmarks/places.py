"""Where the two sides of a row run: both on one core, each on its own, or wherever they like."""

import os
from collections.abc import Iterable

from benchmarks.needs import LeftOut
from benchmarks.processes import pin

ONE, TWO, FREE = "one core", "two cores", "free"
PLACES = (ONE, TWO, FREE)

CPUS = tuple(sorted(os.sched_getaffinity(0)))
"""Those that this run may use."""


def words(place: str) -> tuple[str, str]:
    """The place as the C programs take it: a processor for each side, "-" for any.

    Raises LeftOut on a machine with one processor for two.
    """
    if place == FREE:
        return "-", "-"
    if place == ONE:
        return str(CPUS[-1]), str(CPUS[-1])
    if len(CPUS) < 2:
        raise LeftOut("this machine has one processor")
    return str(CPUS[-2]), str(CPUS[-1])


def put(place: str, near: Iterable[int], far: Iterable[int]) -> None:
    """Put the processes of the two sides there.  Raises LeftOut."""
    for pids, cpu in zip((near, far), words(place), strict=True):
        for pid in pids:
            pin(pid, CPUS if cpu == "-" else {int(cpu)})
