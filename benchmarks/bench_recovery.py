"""How long a guest waits when the driver domain below it is killed."""

import threading
import time
from collections.abc import Sequence

from benchmarks.group import Group
from benchmarks.jobs import Jobs
from benchmarks.lab import fill, in_memory, lab
from benchmarks.rows import MILLISECONDS, Plan, Row
from benchmarks.samples import Sample
from hvsim.faults.now import inject
from hvsim.lab.up import Running
from hvsim.wire.control import Ps

KILLS = 40
BEFORE = 0.1
"""Seconds for which the guest has read when the kill comes."""
PATIENCE = 30.0

COMPARES = f"""\
A guest reads one block after the other, and its storage domain (restart = "always") is killed with
SIGKILL, as `hvsim fault kill` does, {KILLS} times in one lab, each time when the one before serves.
The figure is the time from just before the kill until the guest's program has the first answer of
the new backend: the hypervisor notices, the toolstack builds the domain and moves the disk, the
halves connect, what was unanswered is issued again.  No reference: on a real Xen nobody rebuilds a
driver domain.  Nothing is pinned."""

MEDIAN = Plan(f"kill to first answer, median of {KILLS}", unit=MILLISECONDS)
WORST = Plan(f"kill to first answer, worst of {KILLS}", unit=MILLISECONDS)


def measure(plans: Sequence[Plan]) -> Sequence[Row]:
    """See `COMPARES`."""
    with in_memory("recovery.toml") as file, lab(file) as running, Jobs(running, "one") as guest:
        fill(file.with_name("one.img"))
        waits, last = [], 0
        for _ in range(KILLS):
            last = _serving(running, last)
            waits.append(_kill(running, guest))
    rows = {
        MEDIAN: Row(MEDIAN, [(Sample(wait), None) for wait in waits]),
        WORST: Row(WORST, [(Sample(max(waits)), None)]),
    }
    return [rows[plan] for plan in plans]


def _kill(running: Running, guest: Jobs) -> float:
    """Kill the storage domain while the guest reads; seconds until it reads on.

    As ``hvsim fault`` does: a death that nobody asked for is held against the program, and after
    some of them within a minute it is given up.
    """
    killed: list[float] = []

    def strike() -> None:
        killed.append(time.monotonic())
        inject(running.run, "kill", "storage")

    timer = threading.Timer(BEFORE, strike)
    timer.start()
    try:
        return guest.run("ride", PATIENCE).figure - killed[0]
    finally:
        timer.join()


def _serving(running: Running, last: int) -> int:
    """The pid of the storage domain, once there is another than `last` and it is ready.

    Raises TimeoutError.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with running.control() as control:
            for row in control.data(Ps())["domains"]:
                ready = row["name"] == "storage" and row["health"] == "ok"
                if ready and row["pid"] not in (None, last):
                    return int(row["pid"])
        time.sleep(0.02)
    raise TimeoutError(f"no storage domain that is ready after {PATIENCE:g} s")


GROUP = Group("recovery", "the death of a driver domain", COMPARES, (MEDIAN, WORST), measure)
