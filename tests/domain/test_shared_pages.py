"""Memory and grants between two domains, on the real hypervisor."""

import pytest

from hvsim.abi.errno import EBUSY, EINVAL, ENOMEM
from hvsim.abi.grant_table import (
    GNTST_bad_domain,
    GNTST_bad_gntref,
    GNTST_bad_page,
    GNTST_general_error,
    GNTST_okay,
    GNTST_permission_denied,
)
from hvsim.abi.memory import PAGE_SIZE
from hvsim.domain import Domain, Extent, GrantError, GrantInUse, HypercallError
from tests.domain.pairs import a_hypervisor, descriptors, granted, shared_mappings, two_domains
from tests.support.hv import Hypervisor

__all__ = ["a_hypervisor", "two_domains"]


# ---- memory ----


def test_extents_come_out_of_the_domains_ram(pair: tuple[Domain, Domain]) -> None:
    one, _ = pair
    extents = [one.memory.allocate(256) for _ in range(3)]
    with pytest.raises(HypercallError) as caught:
        one.memory.allocate(512)
    assert caught.value.errno == ENOMEM
    view = extents[0].view
    one.memory.free(extents[0])
    with pytest.raises(ValueError, match="released"):
        _ = view[0]
    with pytest.raises(ValueError, match="unmapped"):
        _ = extents[0].view
    again = one.memory.allocate(256)
    assert not any(again.view), "zeroed"
    with pytest.raises(IndexError):
        again.page(256)
    assert again.gfn(255) == again.base_gfn + 255


def test_pages_of_birth_are_mapped_once(pair: tuple[Domain, Domain]) -> None:
    one, _ = pair
    gfn = int(one.start_info["store_gfn"])
    one.memory.own_page(gfn)[:5] = b"hello"
    before = descriptors()
    assert bytes(one.memory.own_page(gfn)[:5]) == b"hello"
    assert descriptors() == before
    with pytest.raises(HypercallError) as caught:
        one.memory.own_page(1 << 30)
    assert caught.value.errno == EINVAL


# ---- grants ----


def test_a_granted_page_is_shared_both_ways(pair: tuple[Domain, Domain]) -> None:
    one, two = pair
    extent = one.memory.allocate(1)
    ref = one.grants.grant(two.domid, extent.gfn(0))
    assert ref >= 8, "0 to 7 are reserved"
    mapping = two.mapper.map(one.domid, ref)
    extent.view[:3] = b"abc"
    assert bytes(mapping.view[:3]) == b"abc"
    mapping.view[3:6] = b"def"
    assert bytes(extent.view[:6]) == b"abcdef"
    mapping.unmap()
    one.grants.end_access(ref)
    one.memory.free(extent)


def test_a_touch_after_unmap_raises_and_nothing_stays_mapped(pair: tuple[Domain, Domain]) -> None:
    one, two = pair
    refs = granted(one, two, 3)
    before = descriptors(), shared_mappings()
    mappings = two.mapper.map_many(one.domid, refs)
    assert two.mapper.live_extents == 1, "one descriptor for all pages of the extent"
    views = [mapping.view for mapping in mappings]
    left = mappings[0].view[:8]
    two.mapper.unmap_many(mappings[1:])
    assert mappings[0].view[0] == 1
    mappings[0].unmap()
    mappings[0].unmap()
    assert (descriptors(), shared_mappings()) == before
    assert two.mapper.live_pages == two.mapper.live_extents == 0
    for mapping, view in zip(mappings, views, strict=True):
        assert not mapping.live
        with pytest.raises(ValueError, match="is unmapped"):
            _ = mapping.view
        with pytest.raises(ValueError, match="is unmapped"):
            _ = mapping.address
        with pytest.raises(ValueError, match="released"):
            _ = view[0]
    assert left[0] == 0, "a slice that somebody kept shows nothing of the peer"
    assert one.grants.end_access_many(refs) == []


def test_read_only_grants(pair: tuple[Domain, Domain]) -> None:
    one, two = pair
    ref = granted(one, two, 1, readonly=True)[0]
    with pytest.raises(GrantError) as caught:
        two.mapper.map(one.domid, ref)
    assert caught.value.status != GNTST_okay
    mapping = two.mapper.map(one.domid, ref, readonly=True)
    assert mapping.view.readonly
    with pytest.raises(TypeError):
        mapping.view[0] = 1
    assert mapping.view[0] == 1
    mapping.unmap()


def test_scattered_pages_as_one(pair: tuple[Domain, Domain]) -> None:
    one, two = pair
    first, second = granted(one, two, 3), granted(one, two, 3)
    refs = [second[2], first[0], first[2], second[0]]
    before = descriptors(), shared_mappings()
    mapping = two.mapper.map_contiguous(one.domid, refs)
    assert [mapping.view[page * PAGE_SIZE] for page in range(4)] == [3, 1, 3, 1]
    mapping.view[PAGE_SIZE - 1 : PAGE_SIZE + 1] = b"xy"
    single = two.mapper.map(one.domid, first[0])
    assert single.view[0] == ord("y")
    mapping.unmap()
    assert single.view[0] == ord("y")
    single.unmap()
    assert (descriptors(), shared_mappings()) == before
    assert one.grants.end_access_many(first + second) == []


def test_pages_of_one_extent_in_another_order(pair: tuple[Domain, Domain]) -> None:
    one, two = pair
    refs = granted(one, two, 3)
    mapping = two.mapper.map_contiguous(one.domid, [refs[2], refs[0], refs[1]])
    assert [mapping.view[page * PAGE_SIZE] for page in range(3)] == [3, 1, 2]
    mapping.unmap()


def test_consecutive_pages_cost_no_mapping_of_their_own(pair: tuple[Domain, Domain]) -> None:
    one, two = pair
    refs = granted(one, two, 4)
    before = shared_mappings()
    mapping = two.mapper.map_contiguous(one.domid, refs[1:])
    assert shared_mappings() == before + 1
    assert [mapping.view[page * PAGE_SIZE] for page in range(3)] == [2, 3, 4]
    mapping.unmap()
    with pytest.raises(ValueError, match="no grant reference"):
        two.mapper.map_contiguous(one.domid, [])


@pytest.mark.parametrize("how", ["map_many", "map_contiguous"])
def test_all_or_none(pair: tuple[Domain, Domain], how: str) -> None:
    one, two = pair
    refs = granted(one, two, 3)
    before = descriptors(), shared_mappings()
    with pytest.raises(GrantError) as caught:
        getattr(two.mapper, how)(one.domid, [*refs, 4000])
    assert caught.value.status == GNTST_general_error, "an entry that permits nothing"
    assert "grant 4000 of d" in str(caught.value)
    assert (descriptors(), shared_mappings()) == before
    assert one.grants.end_access_many(refs) == [], "nothing is pinned"


def test_more_than_one_hypercall_takes(pair: tuple[Domain, Domain]) -> None:
    one, two = pair
    refs = granted(one, two, 600)
    mappings = two.mapper.map_many(one.domid, refs)
    assert [mapping.view[0] for mapping in mappings] == [(page + 1) % 256 for page in range(600)]
    two.mapper.unmap_many(mappings)
    assert two.mapper.live_extents == 0
    assert one.grants.end_access_many(refs) == []


def test_an_access_in_use_is_not_ended(pair: tuple[Domain, Domain]) -> None:
    one, two = pair
    extent = one.memory.allocate(2)
    refs = one.grants.grant_many(two.domid, [extent.gfn(0), extent.gfn(1)])
    mapping = two.mapper.map(one.domid, refs[0])
    with pytest.raises(GrantInUse) as caught:
        one.grants.end_access(refs[0])
    assert (caught.value.ref, caught.value.pins) == (refs[0], 1)
    with pytest.raises(GrantError):
        two.mapper.map(one.domid, refs[0])
    assert one.grants.end_access_many(refs) == [refs[0]]
    with pytest.raises(HypercallError) as busy:
        one.memory.free(extent)
    assert busy.value.errno == EBUSY
    assert extent.view[0] == 0, "the extent stays usable"
    mapping.unmap()
    one.grants.end_access(refs[0])
    one.memory.free(extent)
    assert one.grants.in_use == 0


def test_references_are_used_again_only_when_free(pair: tuple[Domain, Domain]) -> None:
    one, two = pair
    extent = one.memory.allocate(1)
    ref = one.grants.grant(two.domid, extent.gfn(0))
    one.grants.end_access(ref)
    with pytest.raises(ValueError, match="not granted"):
        one.grants.end_access(ref)
    again = one.grants.grant(two.domid, extent.gfn(0))
    assert again == ref
    with pytest.raises(ValueError, match="named twice"):
        one.grants.end_access_many([again, again])


def test_the_wall_between_domains(hv: Hypervisor, pair: tuple[Domain, Domain]) -> None:
    """Refusals have Xen's status, and a third domain learns nothing."""
    one, two = pair
    third = hv.domain()
    refs = granted(one, two, 2)
    two.mapper.map(one.domid, refs[0])
    ram = one.grants.grant(two.domid, 5)
    shared = one.grants.grant(third.domid, int(one.start_info["console_gfn"]))
    third.mapper.map(one.domid, shared)
    moved = one.grants.grant(two.domid, int(one.start_info["console_gfn"]))
    cases = (
        (third, one.domid, refs[0], None),  # granted to another
        (two, 999, 8, GNTST_bad_domain),
        (two, one.domid, 1 << 20, GNTST_bad_gntref),
        (two, one.domid, ram, GNTST_bad_page),  # plain RAM is never shared
        (two, one.domid, moved, GNTST_permission_denied),  # its extent has a peer already
    )
    for who, domid, ref, status in cases:
        before = descriptors()
        with pytest.raises(GrantError) as caught:
            who.mapper.map(domid, ref)
        assert status is None or caught.value.status == status
        assert caught.value.status < 0
        assert descriptors() == before
    texts = " ".join(record["text"] for record in hv.ledger())
    assert "allocate a grant extent" in texts, "the ledger names the remedy"
    hv.destroy(third)
    hv.domains.pop(third.domid).close()


def test_copy(pair: tuple[Domain, Domain]) -> None:
    one, two = pair
    ref = granted(one, two, 1)[0]
    mine: Extent = two.memory.allocate(1)
    row = (one.domid, True, ref, 10, two.domid, False, mine.gfn(0), 100, 50)
    bad = (one.domid, True, ref, PAGE_SIZE - 1, two.domid, False, mine.gfn(0), 0, 50)
    statuses = two.mapper.copy([row, bad])
    assert statuses[0] == GNTST_okay
    assert statuses[1] < 0
    assert bytes(mine.view[99:151]) == b"\0" + b"\1" * 50 + b"\0"


def test_pages_of_a_destroyed_domain_stay_until_they_are_let_go(hv: Hypervisor) -> None:
    one, two = hv.domain(), hv.domain()
    mapping = two.mapper.map(one.domid, granted(one, two, 1)[0])
    hv.destroy(one)
    assert mapping.view[0] == 1, "a zombie's page is still there"
    mapping.unmap()
    with pytest.raises(GrantError):
        two.mapper.map(one.domid, 8)
    hv.destroy(two)
    for domain in (one, two):
        hv.domains.pop(domain.domid).close()
