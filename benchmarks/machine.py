"""On which machine the figures were taken, and whether anybody else was busy on it."""

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvsim import native

LOOK = 1.0
"""Seconds for which the machine is looked at while we do nothing."""
QUIET = 0.1
"""How many processors others may keep busy on a machine that is quiet."""
STEAL = 0.02
"""How much of the time the machine's own host may take away."""


@dataclass(frozen=True)
class Ticks:
    """The first line of /proc/stat (proc_stat(5)): what all processors did so far."""

    busy: int
    idle: int
    stolen: int

    @classmethod
    def parse(cls, text: str) -> "Ticks":
        """From the file's text.  Raises ValueError."""
        name, *fields = text.splitlines()[0].split()
        if name != "cpu" or len(fields) < 8:
            raise ValueError(f"/proc/stat begins with {name}")
        user, nice, system, idle, iowait, irq, softirq, steal = map(int, fields[:8])
        return cls(user + nice + system + irq + softirq, idle + iowait, steal)

    def since(self, before: "Ticks") -> tuple[float, float]:
        """(busy, stolen) as parts of the time of all processors since then."""
        busy, idle = self.busy - before.busy, self.idle - before.idle
        stolen = self.stolen - before.stolen
        total = max(1, busy + idle + stolen)
        return busy / total, stolen / total


@dataclass(frozen=True)
class Quiet:
    """What others did on the machine in a second in which we did nothing.

    Attributes:
        busy: processors that were kept busy.
        stolen: the part of the time that a host below the machine took.
    """

    busy: float
    stolen: float

    @property
    def warning(self) -> str:
        """What to think of figures that are taken now; "" for a quiet machine."""
        if self.busy > QUIET:
            return f"the machine is not quiet: others keep {self.busy:.1f} processors busy"
        if self.stolen > STEAL:
            return f"the machine is not quiet: its host takes {self.stolen:.0%} of its time"
        return ""


def look() -> Quiet:
    """Do nothing for a second and see what others do."""
    stat = Path("/proc/stat")
    before = Ticks.parse(stat.read_text(encoding="ascii"))
    time.sleep(LOOK)
    busy, stolen = Ticks.parse(stat.read_text(encoding="ascii")).since(before)
    return Quiet(busy * (os.cpu_count() or 1), stolen)


def describe() -> dict[str, Any]:
    """The machine, for the head of the table and for the JSON."""
    return {
        "machine": f"{_processor()}, {len(os.sched_getaffinity(0))} CPUs, {_memory():.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "helper": "compiled" if native.load() is not None else "none: pure Python",
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _memory() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
