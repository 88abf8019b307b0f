"""memory_op (xen/memory.h), and extents, which are ours."""

from typing import Final

from hvsim.abi.errno import EINVAL
from hvsim.abi.hypercall import (
    DOMID_SELF,
    HVSIM_MEM_alloc_extent,
    HVSIM_MEM_free_extent,
    HVSIM_MEM_get_extent,
    HVSIM_MEM_get_foreign,
    HYPERVISOR_memory_op,
)
from hvsim.abi.memory import XENMEM_current_reservation, XENMEM_maximum_reservation
from hvsim.hypervisor.calls import Answer, Machine, Process, Result, Steps, hypercall
from hvsim.hypervisor.domains import Domain
from hvsim.hypervisor.errors import XenError

_OP: Final = HYPERVISOR_memory_op


def _subject(machine: Machine, caller: Process, dom: int) -> Domain:
    if dom in (DOMID_SELF, caller.domid):
        return caller.domain
    return machine.governed(dom, caller)


@hypercall(_OP, XENMEM_current_reservation, int)
def current_reservation(machine: Machine, caller: Process, dom: int) -> Result:
    """(dom) -> pages"""
    return (_subject(machine, caller, dom).memory.nr_pages,)


@hypercall(_OP, XENMEM_maximum_reservation, int)
def maximum_reservation(machine: Machine, caller: Process, dom: int) -> Result:
    """(dom) -> pages"""
    return (_subject(machine, caller, dom).max_pages,)


@hypercall(_OP, HVSIM_MEM_alloc_extent, int, int)
def alloc_extent(machine: Machine, caller: Process, nr_pages: int, flags: int) -> Steps:
    """(pages, flags = 0) -> extent, first frame, with its descriptor"""
    if flags:
        raise XenError(EINVAL, f"unknown flags {flags:#x}")
    extent = yield from machine.when_room(
        caller.domain, lambda: machine.make_extent(caller.domain, nr_pages, caller.token)
    )
    return Answer((extent.id, extent.base_gfn), [extent.memory])


@hypercall(_OP, HVSIM_MEM_free_extent, int)
def free_extent(machine: Machine, caller: Process, number: int) -> Result:
    """(extent): -EBUSY while a page is mapped; pages that the domain was born with stay.

    Its pages are the domain's again as soon as nobody holds its descriptor, nor has it mapped.
    """
    extent = caller.domain.memory.extents.get(number)
    if extent is None or (extent.grantable and extent.token is None):
        raise XenError(EINVAL, f"extent {number} is not one to be freed")
    caller.domain.memory.give_up(extent)
    machine.reclaim.look(caller.domain)
    return ()


@hypercall(_OP, HVSIM_MEM_get_extent, int)
def get_extent(machine: Machine, caller: Process, gfn: int) -> Steps:
    """(gfn) -> extent, first frame, pages, with the descriptor of an own extent"""
    extent = yield from machine.when_room(
        caller.domain, lambda: machine.extent_of(caller.domain, gfn)
    )
    return Answer((extent.id, extent.base_gfn, extent.nr_pages), [extent.memory])


@hypercall(_OP, HVSIM_MEM_get_foreign, int, int)
def get_foreign(machine: Machine, caller: Process, dom: int, gfn: int) -> Steps:
    """(dom, gfn) -> extent, first frame, pages, with the descriptor of an extent of a domain that
    the caller has rights over (what a mmu_update with a foreign domain does)

    Whoever holds it keeps that domain, as a zombie when it has died.
    """
    domain = machine.governed(dom, caller)
    extent = yield from machine.when_room(domain, lambda: machine.extent_of(domain, gfn))
    return Answer((extent.id, extent.base_gfn, extent.nr_pages), [extent.memory])
