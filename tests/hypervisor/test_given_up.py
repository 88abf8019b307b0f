"""Memory that was given up and is held all the same: it stays the RAM of who had it.

The host memory of a domain would have no bound otherwise: allocate, fill, free, keep, again.
"""

import mmap
import os
from collections.abc import Callable
from functools import partial

import pytest

from hvsim.abi.errno import ENOMEM
from hvsim.abi.grant_table import (
    GNTMAP_host_map,
    GNTMAP_readonly,
    GNTST_bad_page,
    GNTST_okay,
    GNTTABOP_unmap_grant_ref,
    GTF_permit_access,
    GTF_readonly,
)
from hvsim.abi.hypercall import (
    HVSIM_MEM_alloc_extent,
    HVSIM_MEM_free_extent,
    HVSIM_MEM_get_foreign,
    HYPERVISOR_grant_table_op,
    HYPERVISOR_memory_op,
)
from hvsim.hypervisor.memory import MAX_SEALED_PAGES
from tests.hypervisor.client import PAGE, Dom, Lab
from tests.support.waits import wait

PAGES = 62
"""What a domain of 64 pages can make one extent of."""


def free(dom: Dom, number: int) -> None:
    dom.call(HYPERVISOR_memory_op, HVSIM_MEM_free_extent, number)


def by_descriptor(dom: Dom, fd: int) -> Callable[[], None]:
    return partial(dom.let_go, fd)


def by_mapping(dom: Dom, fd: int) -> Callable[[], None]:
    mapped = mmap.mmap(fd, PAGE)
    dom.let_go(fd)
    return mapped.close


def read_only(dom: Dom, fd: int) -> Callable[[], None]:
    mine = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    dom.let_go(fd)
    return partial(os.close, mine)


@pytest.mark.parametrize("hold", [by_descriptor, by_mapping, read_only])
def test_what_is_freed_and_held_is_not_lent_again(
    lab: Lab, hold: Callable[[Dom, int], Callable[[], None]]
) -> None:
    """Seen red without ``Memory.held``: 64 pages were lent as often as somebody asked."""
    guest = lab.guest(64)
    number, _, fd = guest.extent(PAGES)
    let_go = hold(guest, fd)
    free(guest, number)
    guest.call(HYPERVISOR_memory_op, HVSIM_MEM_alloc_extent, 1, 0, expect=ENOMEM)
    let_go()
    assert guest.extent(PAGES)[1] == 0, "the very frames"
    lab.destroy(guest.domid)


def test_a_peer_that_holds_the_memory_of_the_dead_keeps_a_zombie(lab: Lab) -> None:
    """As in Xen one that maps it does.  Seen red without ``Memory.held``: the pages were free."""
    front, back = lab.guest(), lab.guest()
    number, gfn, fd = front.extent(2)
    front.grant(8, back.domid, gfn)
    rows, fds = back.map(front.domid, 8)
    back.call(HYPERVISOR_grant_table_op, GNTTABOP_unmap_grant_ref, [rows[0][1]])
    front.let_go(fd)
    free(front, number)
    lab.destroy(front.domid)
    info = lab.info(front.domid)
    assert info["flags"]["dying"]
    assert info["tot_pages"] == 2
    back.let_go(*fds)
    wait(lambda: lab.info(front.domid) is None, "the zombie to go")  # looked at within a second
    lab.destroy(back.domid)


def test_so_does_whoever_maps_it_from_outside(lab: Lab) -> None:
    guest = lab.guest()
    _, fds = lab.dom0.call_fds(HYPERVISOR_memory_op, HVSIM_MEM_get_foreign, guest.domid, 5)
    lab.destroy(guest.domid)
    assert lab.info(guest.domid)["flags"]["dying"]
    lab.dom0.let_go(*fds)
    wait(lambda: lab.info(guest.domid) is None, "the zombie to go")


def test_a_large_extent_is_not_shared_read_only(lab: Lab) -> None:
    """Its pages could not be freed in pieces.  One page less can be, and writable ones are."""
    front, back = lab.guest(2048), lab.guest()
    flags = GTF_permit_access | GTF_readonly
    for pages, status in ((MAX_SEALED_PAGES + 1, GNTST_bad_page), (MAX_SEALED_PAGES, GNTST_okay)):
        _, gfn, _ = front.extent(pages)
        front.grant(8, back.domid, gfn, flags)
        rows, _ = back.map(front.domid, 8, flags=GNTMAP_host_map | GNTMAP_readonly)
        assert rows[0][0] == status
    _, gfn, _ = front.extent(MAX_SEALED_PAGES + 1)
    front.grant(9, back.domid, gfn)
    assert back.map(front.domid, 9)[0][0][0] == GNTST_okay
    for dom in (front, back):
        lab.destroy(dom.domid)


def test_what_was_given_up_is_mapped_by_nobody(lab: Lab) -> None:
    front, back = lab.guest(), lab.guest()
    number, gfn, _ = front.extent(2)
    front.grant(8, back.domid, gfn)
    free(front, number)
    assert back.map(front.domid, 8)[0][0][0] == GNTST_bad_page
    for dom in (front, back):
        lab.destroy(dom.domid)
