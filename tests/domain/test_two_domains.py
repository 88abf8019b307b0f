"""Event channels, memory and grants between domains, on the real hypervisor."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.abi.errno import EBUSY, EINVAL, ENOMEM, ESRCH
from hvsim.abi.event_channel import (
    VIRQ_DOM_EXC,
    EVTCHNSTAT_interdomain,
    EVTCHNSTAT_unbound,
)
from hvsim.abi.grant_table import (
    GNTST_bad_domain,
    GNTST_bad_gntref,
    GNTST_bad_page,
    GNTST_general_error,
    GNTST_okay,
    GNTST_permission_denied,
)
from hvsim.abi.hypercall import HVSIM_OP_event_mode, HYPERVISOR_hvsim_op
from hvsim.abi.memory import PAGE_SIZE
from hvsim.domain import Domain, Extent, GrantError, GrantInUse, HypercallError
from tests.support.hv import Hypervisor, HypervisorGone


@pytest.fixture(scope="module")
def hv(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hypervisor]:
    with Hypervisor(tmp_path_factory.mktemp("hv")) as hv:
        yield hv


@pytest.fixture
def pair(hv: Hypervisor) -> Iterator[tuple[Domain, Domain]]:
    one, two = hv.domain(), hv.domain()
    yield one, two
    for domain in (one, two):
        if domain.domid in hv.domains:
            hv.destroy(domain)
            hv.domains.pop(domain.domid).close()


def granted(owner: Domain, peer: Domain, pages: int, readonly: bool = False) -> list[int]:
    """Pages of one extent, page n filled with n + 1, granted to *peer*."""
    extent = owner.memory.allocate(pages)
    for page in range(pages):
        extent.page(page)[:] = bytes([(page + 1) % 256]) * PAGE_SIZE
    gfns = [extent.gfn(page) for page in range(pages)]
    return owner.grants.grant_many(peer.domid, gfns, readonly)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def shared_mappings() -> int:
    with open("/proc/self/maps", encoding="ascii") as maps:
        return sum("-extent" in line for line in maps)


# ---- events ----


def ring_and_see(sender: Domain, port: int, receiver: Domain, seen: list[int]) -> None:
    before = len(seen)
    sender.events.notify(port)
    receiver.wait(lambda: len(seen) > before, 10.0, "the event")


def test_a_channel_carries_both_ways(pair: tuple[Domain, Domain]) -> None:
    one, two = pair
    here: list[int] = []
    there: list[int] = []
    port = one.events.alloc_unbound(two.domid, lambda: here.append(1))
    assert one.events.status(port)["status"] == EVTCHNSTAT_unbound
    one.events.notify(port)  # reaches nobody, and is no error
    peer = two.events.bind_interdomain(one.domid, port, lambda: there.append(1))
    two.wait(lambda: bool(there), 10.0, "the first look after binding")
    status = one.events.status(port)
    assert (status["status"], status["remote_dom"]) == (EVTCHNSTAT_interdomain, two.domid)
    for _ in range(3):
        ring_and_see(one, port, two, there)
        ring_and_see(two, peer, one, here)


def test_bad_bindings_have_xens_errors(hv: Hypervisor, pair: tuple[Domain, Domain]) -> None:
    one, two = pair
    port = one.events.alloc_unbound(hv.dom0.domid)
    for domid, number, errno in (
        (one.domid, port, EINVAL),
        (999, 1, ESRCH),
        (one.domid, 99, EINVAL),
    ):
        with pytest.raises(HypercallError) as caught:
            two.events.bind_interdomain(domid, number)
        assert caught.value.errno == errno
    assert one.events.alloc_unbound(12345) > port, "a remote that does not exist is accepted"


def test_a_closed_peer_leaves_an_unbound_port_to_be_bound_again(
    pair: tuple[Domain, Domain],
) -> None:
    one, two = pair
    seen: list[int] = []
    port = one.events.alloc_unbound(two.domid)
    peer = two.events.bind_interdomain(one.domid, port)
    two.events.close(peer)
    assert one.events.status(port)["status"] == EVTCHNSTAT_unbound
    again = two.events.bind_interdomain(one.domid, port, lambda: seen.append(1))
    two.wait(lambda: bool(seen), 10.0, "the look after binding")
    ring_and_see(one, port, two, seen)
    two.events.close(again)


def test_wires_change_hands_on_a_running_channel(
    hv: Hypervisor, pair: tuple[Domain, Domain]
) -> None:
    """direct -> mediated -> direct, with traffic in each mode and none lost."""
    one, two = pair
    here: list[int] = []
    there: list[int] = []
    port = one.events.alloc_unbound(two.domid, lambda: here.append(1))
    peer = two.events.bind_interdomain(one.domid, port, lambda: there.append(1))
    ring_and_see(one, port, two, there)
    for mode in ("mediated", "direct", "mediated", "direct"):
        hv.dom0.hypercall.call(HYPERVISOR_hvsim_op, HVSIM_OP_event_mode, -1, mode, {})
        for domain in pair:
            domain.vcpu.block(1.0)
            domain.vcpu.dispatch()
        for _ in range(3):
            ring_and_see(one, port, two, there)
            ring_and_see(two, peer, one, here)


def test_a_rule_takes_hold_of_a_running_channel(
    hv: Hypervisor, pair: tuple[Domain, Domain]
) -> None:
    """Every notify dropped, then none: so the new wires are really in use, both ways."""
    one, two = pair
    seen: list[int] = []
    port = one.events.alloc_unbound(two.domid)
    two.events.bind_interdomain(one.domid, port, lambda: seen.append(1))
    ring_and_see(one, port, two, seen)

    def switch(mode: str, rule: dict[str, float]) -> None:
        hv.dom0.hypercall.call(HYPERVISOR_hvsim_op, HVSIM_OP_event_mode, one.domid, mode, rule)
        for domain in pair:
            while domain.vcpu.block(0.1):
                domain.vcpu.dispatch()

    switch("mediated", {"drop": 1.0})
    before = len(seen)
    one.events.notify(port)
    assert not two.vcpu.block(0.2)
    assert len(seen) == before
    switch("direct", {})
    ring_and_see(one, port, two, seen)


def test_a_swap_while_that_very_port_is_waited_for(
    hv: Hypervisor, pair: tuple[Domain, Domain]
) -> None:
    one, two = pair
    port = one.events.alloc_unbound(two.domid)
    peer = two.events.bind_interdomain(one.domid, port)
    while two.vcpu.block(0.0, port=peer):
        pass
    hv.dom0.hypercall.call(HYPERVISOR_hvsim_op, HVSIM_OP_event_mode, -1, "mediated", {})
    one.events.notify(port)
    assert two.vcpu.block(10.0, port=peer)
    hv.dom0.hypercall.call(HYPERVISOR_hvsim_op, HVSIM_OP_event_mode, -1, "direct", {})


def test_a_masked_port_is_silent_until_unmasked(pair: tuple[Domain, Domain]) -> None:
    one, two = pair
    seen: list[int] = []
    port = one.events.alloc_unbound(two.domid)
    peer = two.events.bind_interdomain(one.domid, port, lambda: seen.append(1))
    two.wait(lambda: bool(seen), 10.0, "the look after binding")
    two.events.mask(peer)
    one.events.notify(port)
    two.vcpu.block(0.2)
    two.vcpu.dispatch()
    assert len(seen) == 1
    two.events.unmask(peer)
    two.wait(lambda: len(seen) == 2, 10.0, "the event that was held back")


def test_dom0_hears_of_a_destroyed_domain(hv: Hypervisor) -> None:
    heard: list[int] = []
    port = hv.dom0.events.bind_virq(VIRQ_DOM_EXC, lambda: heard.append(1))
    victim = hv.domain()
    hv.destroy(victim)
    hv.dom0.wait(lambda: bool(heard), 10.0, "VIRQ_DOM_EXC")
    hv.dom0.events.close(port)


def test_no_descriptor_is_left_by_channels(pair: tuple[Domain, Domain]) -> None:
    one, two = pair
    before = descriptors()
    for _ in range(20):
        port = one.events.alloc_unbound(two.domid)
        peer = two.events.bind_interdomain(one.domid, port)
        two.events.close(peer)
        one.events.close(port)
    assert descriptors() == before


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


# ---- the end ----


def test_the_hypervisors_death_is_noticed_inside_a_wait(tmp_path: Path) -> None:
    with Hypervisor(tmp_path) as hv:
        one = hv.domain()
        two = hv.domain()
        port = one.events.alloc_unbound(two.domid)
        hv.process.kill()
        with pytest.raises(HypervisorGone):
            one.vcpu.block(10.0, port=port)
        with pytest.raises(HypervisorGone):
            two.wait(lambda: False, 10.0, "the end of the machine")
