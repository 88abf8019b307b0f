"""What the hypervisor does not say of the machine, and ``xl info`` shows.

Our own xl and the real one, which asks through /dev/xen/privcmd, answer from here.
"""

from __future__ import annotations

import sys
from typing import Final

CAPABILITIES: Final = "xen-3.0-x86_64 "
"""XENVER_capabilities: the guests that run here are built as 64-bit PV ones; the blank is Xen's."""
SCHEDULER: Final = "credit2"
"""By name; XEN_SCHEDULER_CREDIT2.  Linux's own scheduler runs the vCPUs."""
SCHED_WEIGHT: Final = 256
SCHED_CAP: Final = 0
SCHED_RATELIMIT: Final = 0
"""What credit2 has by default and what is true of Linux' scheduler as well: every domain counts the
same, none is capped; and it has no time in which it does not switch."""
COMPILED_BY: Final = "hvsim"


def compiler() -> str:
    """What runs the hypervisor's program."""
    return f"{sys.implementation.name} {sys.version.split()[0]}"


def cpu_khz() -> int:
    """What /proc/cpuinfo says of the first CPU; 0 where it says nothing."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() == "cpu MHz":
                    return int(float(value) * 1000)
    except (OSError, ValueError):
        return 0
    return 0


def hw_cap() -> list[int]:
    """The first eight words of features of the CPU (``hw_caps`` in ``xl info``); zeros where the
    CPU cannot be asked."""
    from hvsim.domain import cpuid

    try:
        return cpuid.featureset()[:8]
    except cpuid.NoCpuid:
        return [0] * 8
