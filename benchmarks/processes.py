"""What processes use, and where they may run; of any process, as the kernel tells it."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.samples import Sample

_CPUCLOCK_SCHED = 2


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its threads so far, to the microsecond."""
    # The kernel's name of another process's clock (see clock_getcpuclockid(3)).
    return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)


def sleeps(pid: int) -> int:
    """Voluntary context switches of a process's threads so far (proc_pid_status(5))."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                total += int(line.split()[1])
    return total


def proportional(pid: int) -> int:
    """Memory of a process, its part of what it shares with others: bytes (proc_pid_smaps(5)).

    Raises OSError for one that is gone, or whose memory is none of our business.
    """
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    return 0  # a process without memory of its own: a zombie


@dataclass
class Use:
    """What some processes used within a block; filled in at its end."""

    cpu: float = 0.0
    sleeps: int = 0

    def sample(self, figure: float, operations: int) -> Sample:
        """A run of so many operations that came to `figure`."""
        return Sample(figure, cpu=self.cpu / operations, sleeps=self.sleeps / operations)


@contextmanager
def used(pids: Iterable[int]) -> Iterator[Use]:
    """Within the block, count what the processes `pids` use."""
    watched = list(pids)
    before = [(cpu_seconds(pid), sleeps(pid)) for pid in watched]
    use = Use()
    yield use
    for pid, (cpu, slept) in zip(watched, before, strict=True):
        use.cpu += cpu_seconds(pid) - cpu
        use.sleeps += sleeps(pid) - slept


def pin(pid: int, cpus: Iterable[int]) -> None:
    """Let every thread of a process run on `cpus` only."""
    for task in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(task), cpus)
