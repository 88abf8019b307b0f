"""What the hypervisor says while it boots: the first lines of ``xl dmesg``.

In the words of a Xen 4.17 that boots, those of its lines that are true here.
"""

from collections.abc import Iterator
from typing import Final

from hvsim.hypervisor.console import RING_BYTES
from hvsim.hypervisor.ops.version import XEN_EXTRAVERSION, XEN_VERSION
from hvsim.wire.boot import Boot, Dom0

_PAGE_KIB: Final = 4
_SCHEDULER: Final = "SMP Credit Scheduler rev2 (credit2)"
"""Linux's own scheduler runs the vCPUs; this is what ``xl info`` calls it."""


def machine_lines(config: Boot, compiler: str) -> Iterator[str]:
    """Until the machine is there and dom0 is not.

    Args:
        compiler: what runs this program.
    """
    kib = config.memory_pages * _PAGE_KIB
    version = f"{XEN_VERSION[0]}.{XEN_VERSION[1]}{XEN_EXTRAVERSION}"
    yield f"Xen version {version} (hvsim) ({compiler}) debug=n"
    yield f"Bootloader: hvsim up, lab {config.lab}"
    yield "Command line: "
    yield f"System RAM: {kib // 1024}MB ({kib}kB)"
    if config.nodes == 1:
        yield "No NUMA configuration found"
        yield f"Faking a node at {0:016x}-{kib * 1024:016x}"
    yield "Domain heap initialised"
    yield f"Allocated console ring of {RING_BYTES >> 10} KiB."
    yield f"SMP: Allowing {config.cpus} CPUs (0 hotplug CPUs)"
    yield f"Using scheduler: {_SCHEDULER}"
    yield f"Brought up {config.cpus} CPUs"
    yield "Scheduling granularity: cpu, 1 CPU per sched-resource"


def dom0_lines(dom0: Dom0) -> Iterator[str]:
    """While dom0 is made."""
    yield "*** Building a PV Dom0 ***"
    yield f" Dom0 alloc.:   {dom0.memory_pages} pages to be allocated"
    yield f"Dom0 has maximum {dom0.max_vcpus} VCPUs"
    yield "Std. Loglevel: All"
    yield "Guest Loglevel: All"
