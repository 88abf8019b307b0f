"""Many guests, each with a disk: how long until all are Connected, and what they weigh."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.group import Group
from benchmarks.lab import everybody, lab, pids
from benchmarks.processes import proportional
from benchmarks.rounds import Once, in_turn
from benchmarks.rows import BAND, MIB, MILLISECONDS, Pair, Plan, Row
from benchmarks.samples import Sample

ROUNDS = 3
MEMORY_BAND = 0.02
"""Memory does not jitter as times do."""
COUNTS = (50, 100, 200)
SECONDS, OWN, WHOLE = "wall time", "memory of the guests' own processes", "memory of the whole lab"

COMPARES = """\
Labs of idle guests with a disk each, which dom0 serves (xenstored lets a driver domain own 1000
nodes, as on a real Xen, and a disk's backend half has thirty).  Wall time: from the start of `up`
to ready, hypervisor and dom0 included, divided by the guests.  Memory: the proportional set size
of the guests' processes, and that of every process of the lab together (hypervisor, spawner, dom0,
and whatever stands between them), divided by the guests, when the lab is ready.  No reference."""

LAB = """
[lab]
name = "guests"
memory = 16384
"""

GUEST = """
[[image]]
path = "disk{n}.img"
size = "4M"
scratch = true

[[domain]]
name = "guest{n}"
memory = 32
program = "domains.guests.idle:main"
disk = ["format=raw,vdev=xvda,access=rw,target=disk{n}.img"]
"""


@dataclass(frozen=True)
class GuestsPlan(Plan):
    """`what` of a lab with so many guests."""

    count: int = 50
    what: str = SECONDS


def _plans() -> Sequence[GuestsPlan]:
    units = {SECONDS: MILLISECONDS, OWN: MIB, WHOLE: MIB}
    ceilings = {(50, SECONDS): 40.0, (50, OWN): 4.0}
    return [
        GuestsPlan(
            f"{count} guests with a disk, {what}, each",
            unit=units[what],
            ceiling=ceilings.get((count, what)),
            band=BAND if what == SECONDS else MEMORY_BAND,
            count=count,
            what=what,
        )
        for count in COUNTS
        for what in units
    ]


def measure(plans: Sequence[GuestsPlan]) -> Sequence[Row]:
    """See `COMPARES`."""
    once = Once()

    def pair(plan: GuestsPlan) -> Pair:
        once.begin(plan)
        found = once.get(str(plan.count), lambda: _lab(plan.count))
        return Sample(found[plan.what]), None

    return in_turn(plans, pair, rounds=ROUNDS, most=ROUNDS)


def _lab(count: int) -> dict[str, float]:
    """Bring one up: each figure, by guest."""
    with tempfile.TemporaryDirectory(prefix="hvsim-bench-") as folder:
        os.chmod(folder, 0o755)
        file = Path(folder) / f"guests-{count}.toml"
        guests = "".join(GUEST.format(n=n) for n in range(count))
        file.write_text(LAB + guests, encoding="utf-8")
        with lab(file) as running:
            known = pids(running)
            own = [proportional(pid) for name, pid in known.items() if name.startswith("guest")]
            assert len(own) == count, known
            return {
                SECONDS: running.seconds / count,
                OWN: sum(own) / count,
                WHOLE: sum(map(proportional, everybody(running))) / count,
            }


GROUP = Group("guests", "many guests", COMPARES, _plans(), measure)
