"""xen_version (xen/version.h), and what a domain is told at birth."""

from typing import Final

from hvsim.abi.hypercall import (
    HVSIM_OP_start_info,
    HYPERVISOR_hvsim_op,
    HYPERVISOR_xen_version,
    XENVER_extraversion,
    XENVER_guest_handle,
    XENVER_pagesize,
    XENVER_version,
)
from hvsim.abi.memory import PAGE_SIZE
from hvsim.hypervisor.calls import Answer, Machine, Process, Result, hypercall
from hvsim.hypervisor.host import Held

XEN_VERSION: Final = (4, 17)
XEN_EXTRAVERSION: Final = ".7-hvsim"


@hypercall(HYPERVISOR_xen_version, XENVER_version)
def version(machine: Machine, caller: Process) -> Result:
    """() -> major << 16 | minor"""
    return (XEN_VERSION[0] << 16 | XEN_VERSION[1],)


@hypercall(HYPERVISOR_xen_version, XENVER_extraversion)
def extraversion(machine: Machine, caller: Process) -> Result:
    """() -> text"""
    return (XEN_EXTRAVERSION,)


@hypercall(HYPERVISOR_xen_version, XENVER_guest_handle)
def guest_handle(machine: Machine, caller: Process) -> Result:
    """() -> 16 bytes: the caller's own uuid"""
    return (caller.domain.handle,)


@hypercall(HYPERVISOR_xen_version, XENVER_pagesize)
def pagesize(machine: Machine, caller: Process) -> Result:
    """() -> bytes"""
    return (PAGE_SIZE,)


@hypercall(HYPERVISOR_hvsim_op, HVSIM_OP_start_info)
def start_info(machine: Machine, caller: Process) -> Result:
    """() -> map: what the domain is told at birth; with the descriptors of the caller's time page
    and of its own page (``hvsim.abi.vcpu_page``), and in lockstep of the epoll set to wait in

    Its ``seed`` is that of the calling process.
    """
    domain = caller.domain
    defaults = {
        "flags": 0,
        "store_gfn": 0,
        "store_port": 0,
        "console_gfn": 0,
        "console_port": 0,
        "cmd_line": "",
    }
    own = {
        "domid": domain.domid,
        "nr_pages": domain.memory.nr_pages,
        "max_vcpus": domain.max_vcpus,
        "seed": caller.seed,
    }
    info = {**defaults, **domain.start_info, **own}
    page = caller.page
    held: list[Held] = [page.time, page.own] if page is not None else []
    if caller.waits is not None:
        held.append(caller.waits)
    return Answer((info,), held)
