"""Pins of grants and extents that leave, without a machine: what shows, and for how long."""

from itertools import pairwise

import pytest

from hvsim.abi.errno import EBUSY, EINVAL, ENOMEM, ENOSPC
from hvsim.abi.grant_table import GTF_permit_access, GTF_reading, GTF_writing
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.grants import Active, GrantTable
from hvsim.hypervisor.memory import MAX_EXTENTS, DomainMemory, Extent
from hvsim.hypervisor.names import Names
from tests.hypervisor.fakes import FakeMemory

REF = 8
PEER = 5


def extent(number: int, base: int = 0, pages: int = 1) -> Extent:
    return Extent(number, 1, base, pages, FakeMemory(pages), grantable=True)


@pytest.fixture
def memory() -> DomainMemory:
    """Of 2048 pages."""
    made = DomainMemory(1, Names())
    made.populate([(0, 2048)])
    return made


def test_shared_flags_say_who_maps_until_nobody_does() -> None:
    table = GrantTable()
    table.attach(FakeMemory(64))
    table.seed(REF, PEER, 100)
    active = Active(100, PEER, extent(1), readonly=False)

    def shown() -> int:
        entry = table.entry(REF)
        assert entry is not None
        return entry[0] & ~GTF_permit_access

    for readonly in (True, True, False):
        table.pin(REF, active, readonly)
    assert shown() == GTF_reading | GTF_writing
    seen = []
    for readonly in (True, False, True):
        table.unpin(REF, readonly)
        seen.append((shown(), active.pins, active.extent.pins, REF in table.active))
    assert seen == [
        (GTF_reading | GTF_writing, 2, 2, True),
        (GTF_reading, 1, 1, True),
        (0, 0, 0, False),
    ]


def test_a_domain_has_so_many_extents(memory: DomainMemory) -> None:
    """Those that leave count: somebody may hold them."""
    for number in range(MAX_EXTENTS):
        memory.insert(extent(number, memory.carve(1)))
    memory.give_up(memory.extents[0])
    for take in (memory.carve, memory.carve_around):
        with pytest.raises(XenError, match="1024 extents is the limit") as refused:
            take(1)
        assert refused.value.errno == ENOSPC
    memory.reclaimed(memory.leaving[0])
    assert memory.carve_around(1)[0] == 0


def test_what_was_given_up_backs_nothing_until_it_is_reclaimed(memory: DomainMemory) -> None:
    one = extent(1, memory.carve(4), 4)
    memory.insert(one)
    assert one.base_gfn == 2044
    assert [memory.extent_at(gfn) for gfn in (2043, 2044, 2047, 2048)] == [None, one, one, None]
    one.pins = 1
    with pytest.raises(XenError) as refused:
        memory.give_up(one)
    assert refused.value.errno == EBUSY
    one.pins = 0
    memory.give_up(one)
    assert memory.extent_at(2044) is None
    assert memory.unbacked == 2044, "somebody may still hold it"
    memory.reclaimed(one)
    assert memory.unbacked == 2048
    assert memory.carve(2048) == 0


def test_what_cannot_be_carved(memory: DomainMemory) -> None:
    for pages, number in ((0, EINVAL), (2049, ENOMEM)):
        with pytest.raises(XenError) as refused:
            memory.carve(pages)
        assert refused.value.errno == number
    with pytest.raises(XenError) as refused:
        memory.carve_around(2048)
    assert refused.value.errno == EINVAL


def test_ram_is_backed_in_chunks(memory: DomainMemory) -> None:
    memory.carve(48)
    found = [memory.carve_around(gfn) for gfn in (1023, 1999)]
    assert found == [(0, 1024), (1024, 976)]
    assert all(one[0] + one[1] == other[0] for one, other in pairwise(found))
    assert memory.unbacked == 0
    memory.uncarve(*found[0])
    assert memory.unbacked == 1024
