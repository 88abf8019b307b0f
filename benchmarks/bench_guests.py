"""Fifty guests, each with a disk: how long until all are Connected, and what each one weighs.

The disks are served by dom0: xenstored lets a driver domain own 1000 nodes, as in a real Xen, and
a disk's backend half has thirty.
"""

import os
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import Row
from hvsim.lab.load import load
from hvsim.lab.up import Running, bring_up

GUESTS = 50
ROUNDS = 3

LAB = """
[lab]
name = "{name}"
memory = 4096
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


def run() -> Iterator[Row]:
    """Wall time from `up` to ready, hypervisor and dom0 included, and memory, per guest."""
    seconds, weights = [], []
    with tempfile.TemporaryDirectory(prefix="hvsim-bench-") as folder:
        file = Path(folder) / "fifty.toml"
        guests = "".join(GUEST.format(n=n) for n in range(GUESTS))
        file.write_text(LAB.format(name=f"bench-fifty-{os.getpid()}") + guests, encoding="utf-8")
        for _ in range(ROUNDS):
            running = bring_up(load(file))
            try:
                seconds.append(running.seconds / GUESTS)
                weights.append(_weight(running))
            finally:
                running.down(now=True)
    wall = statistics.median(seconds) * 1e3
    weight = statistics.median(weights)
    yield Row(f"{GUESTS} guests up, each", f"{wall:.1f} ms", "", wall, ceiling=40.0)
    yield Row(f"{GUESTS} guests, memory each", f"{weight:.2f} MiB", "", weight, ceiling=4.0)


def _weight(running: Running) -> float:
    """Mean proportional memory of the guests' processes, MiB."""
    with running.control() as control:
        rows = control.data("ps")["domains"]
    pids = [row["pid"] for row in rows if str(row["name"]).startswith("guest")]
    assert len(pids) == GUESTS, rows
    return sum(_proportional(pid) for pid in pids) / len(pids) / 1024


def _proportional(pid: int) -> int:
    """Pss of a process, KiB (proc_pid_smaps(5))."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/{pid}/smaps_rollup has no Pss line")
