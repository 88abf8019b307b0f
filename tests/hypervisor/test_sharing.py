"""Grants between real processes' memory: what the kernel and the table hold the grantee to."""

import fcntl
import mmap
import os
import time
from pathlib import Path

import pytest

from hvsim.abi.errno import EBUSY, EINVAL
from hvsim.abi.grant_table import (
    GNTMAP_host_map,
    GNTMAP_readonly,
    GNTST_bad_copy_arg,
    GNTST_bad_domain,
    GNTST_bad_gntref,
    GNTST_bad_handle,
    GNTST_bad_page,
    GNTST_general_error,
    GNTST_okay,
    GNTST_permission_denied,
    GNTTABOP_copy,
    GNTTABOP_unmap_grant_ref,
    GTF_permit_access,
    GTF_reading,
    GTF_readonly,
    GTF_writing,
)
from hvsim.abi.hypercall import (
    DOMID_SELF,
    HVSIM_DOMCTL_peek,
    HVSIM_DOMCTL_spawn,
    HVSIM_GNTTAB_in_use,
    HVSIM_MEM_free_extent,
    HVSIM_MEM_get_extent,
    HYPERVISOR_grant_table_op,
    HYPERVISOR_memory_op,
)
from tests.hypervisor.client import PAGE, Dom, Lab

GNT = HYPERVISOR_grant_table_op
RO = GTF_permit_access | GTF_readonly
MAP_RO = GNTMAP_host_map | GNTMAP_readonly


@pytest.fixture
def pair(lab: Lab) -> tuple[Dom, Dom]:
    return lab.guest(), lab.guest()


def test_write_reaches_the_peer(pair: tuple[Dom, Dom]) -> None:
    front, back = pair
    _, gfn, fd = front.extent(4)
    front.grant(8, back.domid, gfn + 2)
    rows, fds = back.map(front.domid, 8)
    assert (rows[0][0], rows[0][3], len(fds)) == (GNTST_okay, 2, 1)
    os.pwrite(fds[0], b"data", rows[0][3] * PAGE)
    assert os.pread(fd, 4, 2 * PAGE) == b"data"
    assert front.flags(8) == GTF_permit_access | GTF_reading | GTF_writing


def test_in_use_until_unmapped(pair: tuple[Dom, Dom]) -> None:
    front, back = pair
    number, gfn, _ = front.extent(1)
    front.grant(8, back.domid, gfn)
    rows, fds = back.map(front.domid, 8, 8)
    assert len(fds) == 1
    front.grant(8, 0, 0, 0)
    assert front.call(GNT, HVSIM_GNTTAB_in_use, [8, 9]) == [2, 0]
    front.call(HYPERVISOR_memory_op, HVSIM_MEM_free_extent, number, expect=EBUSY)
    handles = [row[1] for row in rows]
    assert back.call(GNT, GNTTABOP_unmap_grant_ref, handles) == [0, 0]
    assert back.call(GNT, GNTTABOP_unmap_grant_ref, handles) == [GNTST_bad_handle] * 2
    assert front.call(GNT, HVSIM_GNTTAB_in_use, [8]) == [0]
    assert front.flags(8) == 0
    front.call(HYPERVISOR_memory_op, HVSIM_MEM_free_extent, number)


def test_in_use_makes_a_revocation_certain(pair: tuple[Dom, Dom]) -> None:
    """A permission that the hypervisor's own store brought back is gone after in_use."""
    front, back = pair
    _, gfn, _ = front.extent(1)
    front.grant(8, back.domid, gfn)
    back.map(front.domid, 8)
    assert front.call(GNT, HVSIM_GNTTAB_in_use, [8]) == [1]
    assert front.flags(8) == GTF_reading | GTF_writing
    assert back.map(front.domid, 8)[0][0][0] == GNTST_general_error


def test_bad_grants(lab: Lab, pair: tuple[Dom, Dom]) -> None:
    front, back = pair
    _, gfn, _ = front.extent(1)
    front.grant(8, back.domid, gfn)
    front.grant(9, 0, gfn)
    front.grant(10, back.domid, 3)
    front.grant(11, back.domid, 1 << 31)
    front.grant(12, back.domid, gfn, GTF_permit_access | GTF_readonly)
    rows, fds = back.map(front.domid, 7, 9, 10, 11, 12, 1 << 20, 2**40)
    assert [row[0] for row in rows] == [
        GNTST_general_error,
        GNTST_general_error,
        GNTST_bad_page,
        GNTST_bad_page,
        GNTST_general_error,
        GNTST_bad_gntref,
        GNTST_bad_gntref,
    ]
    assert fds == []
    assert back.map(9999, 8)[0][0][0] == GNTST_bad_domain
    assert back.map(lab.dom0.domid, 8)[0][0][0] == GNTST_general_error
    assert back.map(front.domid, 8, flags=0)[0][0][0] == GNTST_general_error
    assert back.map(front.domid, 8, flags=1 << 30)[0][0][0] == GNTST_general_error


def test_an_extent_has_one_peer_for_life(lab: Lab, pair: tuple[Dom, Dom]) -> None:
    front, back = pair
    third = lab.guest()
    _, gfn, _ = front.extent(2)
    front.grant(8, back.domid, gfn)
    front.grant(9, third.domid, gfn + 1)
    rows, _ = back.map(front.domid, 8)
    back.call(GNT, GNTTABOP_unmap_grant_ref, [rows[0][1]])
    rows, fds = third.map(front.domid, 9)
    assert (rows[0][0], fds) == (GNTST_permission_denied, [])


def test_readonly_is_sealed(pair: tuple[Dom, Dom]) -> None:
    """No writable mapping, no write, no re-opening, no seal of the grantee's own."""
    front, back = pair
    _, gfn, fd = front.extent(1)
    own = mmap.mmap(fd, PAGE)
    front.grant(8, back.domid, gfn, RO)
    rows, (got,) = back.map(front.domid, 8, flags=MAP_RO)
    assert rows[0][0] == GNTST_okay
    with pytest.raises(PermissionError):
        mmap.mmap(got, PAGE)
    with pytest.raises(PermissionError):
        os.pwrite(got, b"x", 0)
    again = os.open(f"/proc/self/fd/{got}", os.O_RDWR)
    try:
        with pytest.raises(PermissionError):
            mmap.mmap(again, PAGE)
        with pytest.raises(PermissionError):
            os.write(again, b"x")
    finally:
        os.close(again)
    for seal in (fcntl.F_SEAL_WRITE, fcntl.F_SEAL_SEAL):
        with pytest.raises(PermissionError):
            fcntl.fcntl(got, fcntl.F_ADD_SEALS, seal)
    with pytest.raises(PermissionError):
        os.ftruncate(got, 0)
    own[:5] = b"hello"
    with mmap.mmap(got, PAGE, prot=mmap.PROT_READ) as view:
        assert view[:5] == b"hello"
    own.close()


def test_a_writable_extent_can_be_mapped_writable(pair: tuple[Dom, Dom]) -> None:
    """The control of the test above: the same steps succeed when the grant is writable."""
    front, back = pair
    _, gfn, _ = front.extent(1)
    front.grant(8, back.domid, gfn)
    _, (got,) = back.map(front.domid, 8)
    mmap.mmap(got, PAGE).close()
    with pytest.raises(PermissionError):
        fcntl.fcntl(got, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


def test_modes_do_not_mix(pair: tuple[Dom, Dom]) -> None:
    front, back = pair
    _, gfn, _ = front.extent(2)
    front.grant(8, back.domid, gfn, RO)
    front.grant(9, back.domid, gfn + 1)
    rows, fds = back.map(front.domid, 8, flags=MAP_RO)
    assert (rows[0][0], len(fds)) == (GNTST_okay, 1)
    assert back.map(front.domid, 9)[0][0][0] == GNTST_bad_page


def test_an_owner_that_seals_first_shares_nothing(pair: tuple[Dom, Dom]) -> None:
    front, back = pair
    _, gfn, fd = front.extent(1)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL)
    front.grant(8, back.domid, gfn, RO)
    assert back.map(front.domid, 8, flags=MAP_RO)[0][0][0] == GNTST_bad_page


def test_copy(lab: Lab, pair: tuple[Dom, Dom]) -> None:
    front, back = pair
    _, gfn, fd = front.extent(1)
    _, gfn2, fd2 = back.extent(1)
    os.pwrite(fd, b"secret", 100)
    front.grant(8, back.domid, gfn, RO)
    me, it = DOMID_SELF, front.domid
    batch = [
        [it, True, 8, 100, me, False, gfn2, 0, 6],
        [me, False, gfn2, 0, it, True, 8, 0, 6],  # read-only
        [it, False, gfn, 0, me, False, gfn2, 0, 6],  # by frame of another
        [it, True, 8, 4090, me, False, gfn2, 0, 7],
        [it, True, 8, -1, me, False, gfn2, 0, 6],
        [it, True, 9, 0, me, False, gfn2, 0, 6],
        [me, False, 0, 0, me, False, gfn2, 0, 6],  # RAM without bytes
    ]
    assert back.call(GNT, GNTTABOP_copy, batch) == [
        GNTST_okay,
        GNTST_general_error,
        GNTST_permission_denied,
        GNTST_bad_copy_arg,
        GNTST_bad_copy_arg,
        GNTST_general_error,
        GNTST_bad_page,
    ]
    assert os.pread(fd2, 6, 0) == b"secret"
    assert lab.dom0.domctl(HVSIM_DOMCTL_peek, it, 8, 100, 6) == b"secret"
    lab.dom0.domctl(HVSIM_DOMCTL_peek, it, 9, 0, 6, expect=EINVAL)


def test_a_copy_stays_within_its_pages(pair: tuple[Dom, Dom]) -> None:
    """Neither end may overstep into the next page, which was not granted.

    Seen red without either half of the check, and with each of them one byte too generous.
    """
    front, back = pair
    _, gfn, fd = front.extent(2)
    _, gfn2, fd2 = back.extent(2)
    for page in (fd, fd2):
        os.pwrite(page, b"next page", PAGE)
    front.grant(8, back.domid, gfn)
    me, it = DOMID_SELF, front.domid
    batch = [
        [me, False, gfn2, PAGE - 4, it, True, 8, 0, 5],  # source
        [me, False, gfn2, 0, it, True, 8, PAGE - 4, 5],  # destination
        [me, False, gfn2, PAGE, it, True, 8, 0, 1],
        [me, False, gfn2, 0, it, True, 8, PAGE, 1],
        [me, False, gfn2, PAGE - 4, it, True, 8, PAGE - 4, 4],  # to the last byte, no further
        [me, False, gfn2, PAGE, it, True, 8, PAGE, 0],
    ]
    assert back.call(GNT, GNTTABOP_copy, batch) == [GNTST_bad_copy_arg] * 4 + [GNTST_okay] * 2
    assert os.pread(fd, 9, PAGE) == b"next page"


def test_copy_into_a_sealed_extent(pair: tuple[Dom, Dom]) -> None:
    """The hypervisor mapped it for itself before the seal: the owner's copies still work."""
    front, back = pair
    _, gfn, fd = front.extent(1)
    front.grant(8, back.domid, gfn, RO)
    back.map(front.domid, 8, flags=MAP_RO)
    row = [DOMID_SELF, False, gfn, 0, DOMID_SELF, False, gfn, 8, 8]
    assert front.call(GNT, GNTTABOP_copy, [row]) == [GNTST_okay]
    assert os.pread(fd, 16, 0) == bytes(16)


def test_a_handle_belongs_to_its_domain(pair: tuple[Dom, Dom]) -> None:
    front, back = pair
    _, gfn, _ = front.extent(1)
    front.grant(8, back.domid, gfn)
    rows, _ = back.map(front.domid, 8)
    assert front.call(GNT, GNTTABOP_unmap_grant_ref, [rows[0][1]]) == [GNTST_bad_handle]


def test_a_handle_belongs_to_its_process(lab: Lab, pair: tuple[Dom, Dom]) -> None:
    """Two processes of dom0: one cannot pull away what the other has mapped.

    Seen red without the comparison of tokens in ``Transfers.unmap_one``.
    """
    guest, _ = pair
    spec = {"name": "Domain-0", "process": "second", "program": "-", "profile": "dom0"}
    lab.dom0.domctl(HVSIM_DOMCTL_spawn, 0, spec)
    second = lab.adopt()
    _, gfn, _ = guest.extent(1)
    guest.grant(8, 0, gfn)
    rows, _ = lab.dom0.map(guest.domid, 8)
    handle = rows[0][1]
    assert second.call(GNT, GNTTABOP_unmap_grant_ref, [handle]) == [GNTST_bad_handle]
    assert guest.flags(8) == GTF_permit_access | GTF_reading | GTF_writing, "still mapped"
    assert lab.dom0.call(GNT, GNTTABOP_unmap_grant_ref, [handle]) == [GNTST_okay]


def test_an_entry_keeps_its_mode_while_it_is_mapped(lab: Lab, pair: tuple[Dom, Dom]) -> None:
    """What is mapped read-only cannot be mapped writable by rewriting the entry, nor the reverse.

    Seen red without the comparison of ``active.readonly`` in ``Transfers._map``.
    """
    front, back = pair
    _, gfn, _ = front.extent(1)
    front.grant(8, back.domid, gfn, RO)
    back.map(front.domid, 8, flags=MAP_RO)
    front.grant(8, back.domid, gfn)
    assert back.map(front.domid, 8)[0][0][0] == GNTST_general_error
    assert back.map(front.domid, 8, flags=MAP_RO)[0][0][0] == GNTST_general_error
    _, gfn, _ = front.extent(1)
    front.grant(9, back.domid, gfn)
    back.map(front.domid, 9, flags=MAP_RO)
    front.grant(9, back.domid, gfn, RO)
    assert back.map(front.domid, 9, flags=MAP_RO)[0][0][0] == GNTST_general_error
    _, fds = back.map(front.domid, 8, 9)
    assert fds == []


def test_extents_are_zero_and_sealed(pair: tuple[Dom, Dom]) -> None:
    front, _ = pair
    number, gfn, fd = front.extent(1)
    os.pwrite(fd, b"old", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 2 * PAGE)
    front.call(HYPERVISOR_memory_op, HVSIM_MEM_free_extent, number)
    front.let_go(fd)
    number, again, fd = front.extent(1)
    deadline = time.monotonic() + 60.0
    while again != gfn:  # until the frames of the old one are lent anew
        assert time.monotonic() < deadline, "they are not lent anew"
        front.call(HYPERVISOR_memory_op, HVSIM_MEM_free_extent, number)
        front.let_go(fd)
        number, again, fd = front.extent(1)
    assert os.pread(fd, PAGE, 0) == bytes(PAGE)
    _, _, fd = front.extent(1)
    assert os.pread(fd, PAGE, 0) == bytes(PAGE)


def test_no_descriptor_stays_in_the_hypervisor(lab: Lab, pair: tuple[Dom, Dom]) -> None:
    front, back = pair
    front.grant(7, 0, 0, 0)
    directory = Path(f"/proc/{lab.process.pid}/fd")
    before = len(list(directory.iterdir()))
    for _ in range(10):
        number, gfn, fd = front.extent(1)
        front.grant(8, back.domid, gfn, RO)
        rows, fds = back.map(front.domid, 8, flags=MAP_RO)
        back.call(GNT, GNTTABOP_unmap_grant_ref, [rows[0][1]])
        front.call(HYPERVISOR_memory_op, HVSIM_MEM_free_extent, number)
        front.let_go(fd)
        back.let_go(*fds)
    # As many pages as there are, in one: all has been given back then.
    front.extent(62)
    lab.info(front.domid)
    assert len(list(directory.iterdir())) <= before + 1


def test_own_pages(lab: Lab) -> None:
    guest = lab.guest(32)
    (_, base, pages), fds = guest.call_fds(HYPERVISOR_memory_op, HVSIM_MEM_get_extent, 31)
    assert (base, pages, len(fds)) == (31, 1, 1)
    guest.call(HYPERVISOR_memory_op, HVSIM_MEM_get_extent, 32, expect=EINVAL)
