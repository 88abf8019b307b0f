"""What the hypervisor does not say of the machine, and ``xl info`` and ``xl vcpu-list`` show.

Our own xl and the real one, which asks through /dev/xen/privcmd, answer from here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Final

CAPABILITIES: Final = "xen-3.0-x86_64 "
"""XENVER_capabilities: the guests that run here are built as 64-bit PV ones; the blank is Xen's."""
SCHEDULER: Final = "credit2"
"""By name; XEN_SCHEDULER_CREDIT2.  Linux's own scheduler runs the vCPUs."""
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


def processor(pids: Iterable[int]) -> int:
    """The CPU that the first of these processes was last on (proc(5)); 0 where none says so."""
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                return int(file.read().rpartition(b") ")[2].split()[36])
        except (OSError, IndexError, ValueError):
            continue
    return 0
