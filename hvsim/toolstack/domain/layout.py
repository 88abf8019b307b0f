"""The store nodes of domains as libxl writes them: paths, values, owners, permissions, their order.

Pure: each function returns the requests of one step, without a transaction; the caller puts them
into one and sends them.  Every one is held against the recordings of a real host (Xen 4.17.7) by
tests/fidelity.  A request that removes what may not be there is meant to be able to fail.
"""

from dataclasses import dataclass

from hvsim.toolstack.host.nodes import (
    domain_path,
    libxl_path,
    owned_by,
    readable_by,
    toolstack_only,
    vm_path,
    write,
)
from hvsim.xs import requests
from hvsim.xs.requests import Request


def domain_skeleton(domid: int, uuid: str, name: str, driver_domain: bool) -> list[Request[object]]:
    """The first transaction: a domain that has a name and places to write to, and no memory."""
    dom, vm, libxl = domain_path(domid), vm_path(uuid), libxl_path(domid)
    reader, owner = readable_by(domid), owned_by(domid)
    batch = [requests.rm(dom), *write(dom, "", reader)]
    batch += [requests.rm(vm), *write(vm, "", reader)]
    batch += [requests.rm(libxl), *write(libxl, "", toolstack_only())]
    batch += write(f"{libxl}/device", "", toolstack_only())
    batch += write(f"{dom}/vm", vm)
    batch += write(f"{dom}/name", name)
    batch += write(f"{vm}/name", name)
    for node in ("cpu", "memory", "device"):
        batch += write(f"{dom}/{node}", "", reader)
    batch += write(f"{dom}/device/suspend/event-channel", "", owner)
    batch += write(f"{dom}/control", "", reader)
    for node in ("shutdown", "feature-poweroff", "feature-reboot", "feature-suspend", "sysrq"):
        batch += write(f"{dom}/control/{node}", "", owner)
    for node in ("data", "drivers", "feature", "attr", "error"):
        batch += write(f"{dom}/{node}", "", owner)
    if driver_domain:
        for node in ("libxl", "device-model"):
            batch += write(f"{dom}/{node}", "", owner)
    batch += write(f"{vm}/uuid", uuid)
    batch += write(f"{vm}/name", name)
    batch += write(f"{dom}/control/platform-feature-multiprocessor-suspend", 1)
    batch += write(f"{dom}/control/platform-feature-xs_reset_watches", 1)
    batch += write(f"{libxl}/type", "pv")
    return batch


@dataclass(frozen=True, slots=True)
class Build:
    """What the builder made, for the store.

    Attributes:
        memory_kib, maxmem_kib: at the start, at most.
        store_gfn, store_port: ring page and event channel to the store, as the guest knows them.
        start_time: seconds since the epoch.
    """

    domid: int
    uuid: str
    memory_kib: int
    maxmem_kib: int
    vcpus: int
    maxvcpus: int
    store_gfn: int
    store_port: int
    kernel: str
    ramdisk: str | None
    cmdline: str
    start_time: float


def built(build: Build) -> list[Request[object]]:
    """The second transaction: memory, the store's ring, vCPUs, the image."""
    dom, image = domain_path(build.domid), f"{vm_path(build.uuid)}/image"
    batch = write(f"{dom}/memory/static-max", build.maxmem_kib)
    batch += write(f"{dom}/memory/target", build.memory_kib)
    batch += write(f"{dom}/memory/videoram", 0)
    batch += write(f"{dom}/domid", build.domid)
    batch += write(f"{dom}/store/port", build.store_port)
    batch += write(f"{dom}/store/ring-ref", build.store_gfn)
    for cpu in range(build.maxvcpus):
        state = "online" if cpu < build.vcpus else "offline"
        batch += write(f"{dom}/cpu/{cpu}/availability", state)
    batch += write(f"{image}/ostype", "linux")
    batch += write(f"{image}/kernel", build.kernel)
    batch += write(f"{vm_path(build.uuid)}/start_time", f"{build.start_time:.2f}")
    if build.ramdisk is not None:
        batch += write(f"{image}/ramdisk", build.ramdisk)
    if build.cmdline:
        batch += write(f"{image}/cmdline", build.cmdline)
    return batch
