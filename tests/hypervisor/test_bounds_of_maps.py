"""What a map may ask for, and how much of it: flags, handles, descriptors, references, frames.

Each is red with the fault of its name in tests/mutants/hypervisor.py.
"""

import pytest

from hvsim.abi.grant_table import (
    MAX_ENTRIES_V1,
    GNTMAP_host_map,
    GNTST_bad_gntref,
    GNTST_bad_page,
    GNTST_general_error,
    GNTST_no_space,
    GNTST_okay,
    GTF_permit_access,
)
from hvsim.abi.hypercall import HVSIM_MEM_get_extent, HYPERVISOR_memory_op
from hvsim.hypervisor.grants import GrantRefused, GrantTable, Maptrack
from hvsim.hypervisor.transfer import MAX_DESCRIPTORS
from tests.hypervisor.client import Dom, Lab


@pytest.fixture
def pair(lab: Lab) -> tuple[Dom, Dom]:
    return lab.guest(), lab.guest()


class Bytes:
    """Memory of a grant table, in a bytearray."""

    def __init__(self) -> None:
        self._data = bytearray(MAX_ENTRIES_V1 * 8)

    def view(self) -> memoryview:
        return memoryview(self._data)


@pytest.fixture
def table() -> GrantTable:
    made = GrantTable()
    made.attach(Bytes())  # type: ignore[arg-type]  # all of it that is used
    return made


def test_a_flag_that_nobody_knows_is_refused(pair: tuple[Dom, Dom]) -> None:
    front, back = pair
    front.grant(8, back.domid, front.extent(1)[1])
    flags = GNTMAP_host_map | 1 << 30
    assert back.map(front.domid, 8, flags=flags)[0][0][0] == GNTST_general_error
    assert back.map(front.domid, 8)[0][0][0] == GNTST_okay


def test_plain_ram_is_not_shared_even_when_its_owner_holds_it(pair: tuple[Dom, Dom]) -> None:
    """With ``HVSIM_MEM_get_extent`` a domain has plain RAM in an extent, which is not grantable."""
    front, back = pair
    front.call_fds(HYPERVISOR_memory_op, HVSIM_MEM_get_extent, 3)
    front.grant(8, back.domid, 3)
    rows, fds = back.map(front.domid, 8)
    assert (rows[0][0], fds) == (GNTST_bad_page, [])


def test_one_call_brings_so_many_descriptors(pair: tuple[Dom, Dom]) -> None:
    front, back = pair
    refs = range(8, 8 + MAX_DESCRIPTORS + 1)
    for ref in refs:
        front.grant(ref, back.domid, front.extent(1)[1])
    rows, fds = back.map(front.domid, *refs)
    assert [row[0] for row in rows] == [GNTST_okay] * MAX_DESCRIPTORS + [GNTST_no_space]
    assert len(fds) == MAX_DESCRIPTORS


def test_the_first_reference_that_is_none(table: GrantTable, pair: tuple[Dom, Dom]) -> None:
    with pytest.raises(GrantRefused) as caught:
        table.check(MAX_ENTRIES_V1, 1, write=False)
    assert caught.value.status == GNTST_bad_gntref
    front, back = pair
    assert back.map(front.domid, MAX_ENTRIES_V1)[0][0][0] == GNTST_bad_gntref


def test_handles_are_bounded() -> None:
    track = Maptrack(limit=2)
    for _ in range(2):
        assert not track.full
        track.mappings[track.take()] = None  # type: ignore[assignment]  # only counted
    assert track.full


def test_entries_for_frames_of_a_gone_process_are_taken_back(table: GrantTable) -> None:
    for ref, gfn in ((8, 100), (9, 200)):
        table.seed(ref, 5, gfn)
    assert table.revoke(0, 16, lambda gfn: gfn == 100) == MAX_ENTRIES_V1 - 16
    assert [table.frame(ref) for ref in (8, 9)] == [None, 200]
    assert table.entry(9) == (GTF_permit_access, 5, 200)
