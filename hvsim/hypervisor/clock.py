"""The machine's clock and the lab's dice: the one place where the hypervisor reads either."""

import random
import time
from typing import Final, Protocol

_CPUCLOCK_SCHED: Final = 2


def now() -> int:
    """Nanoseconds of CLOCK_MONOTONIC."""
    return time.monotonic_ns()


def wall_clock() -> int:
    """Unix time, in nanoseconds, at which :func:`now` read 0."""
    return time.time_ns() - time.monotonic_ns()


class Clock(Protocol):
    """What a machine takes for its time."""

    def now(self) -> int:
        """Nanoseconds, which never go back."""

    def wall_clock(self) -> int:
        """Unix time, in nanoseconds, at which :meth:`now` read 0."""


class MachineClock:
    """The machine's own."""

    now: Final = staticmethod(now)
    wall_clock: Final = staticmethod(wall_clock)


def cpu_time(pid: int) -> int | None:
    """Nanoseconds of CPU time of a process, from its CPU clock (clock_getcpuclockid(3)); None for
    one that is gone."""
    try:
        return time.clock_gettime_ns((~pid << 3) | _CPUCLOCK_SCHED)
    except OSError:
        return None


def dice(seed: int | str) -> random.Random:
    """The dice of a lab, or of one who has a name in it."""
    return random.Random(seed)
