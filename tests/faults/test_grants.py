"""Each fault of a grant, fired by a rule, and seen by who maps, by the owner, or by a guest.

Seen red: with `BrokenTransfers.map_one` and `copy_one` that hand on (what fails, what is taken
away), `unmap_one` that hands on (what is held), `_lift` that ends nothing (what the rule held), and
`release_process` without what was held (a mapper that dies).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hvsim.abi.blkif import BLKIF_RSP_ERROR, BLKIF_RSP_OKAY
from hvsim.abi.grant_table import GNTST_bad_gntref, GNTST_bad_page, GNTST_general_error
from hvsim.abi.hypercall import HYPERVISOR_grant_table_op
from hvsim.abi.memory import PAGE_SIZE
from hvsim.domain.domain import Domain
from hvsim.domain.grants import GrantInUse
from hvsim.domain.mapper import GrantError
from hvsim.drivers.block.request import READ
from tests.domain.pairs import granted, two_domains
from tests.drivers.blockrig import VDEV, Rig, a_disk_and_its_domains
from tests.faults.breaking import Breaker
from tests.support.hv import Hypervisor

__all__ = ["a_disk_and_its_domains", "two_domains"]


class Grants:
    """A guest that grants pages, a domain that maps them, and who breaks that."""

    def __init__(self, hv: Hypervisor, guest: Domain, back: Domain) -> None:
        self.guest, self.back = guest, back
        self.breaker = Breaker(hv, guest, back)
        self.add = self.breaker.add
        self.refs = granted(guest, back, 4)

    def copy(self, ref: int) -> int:
        """The status of a copy of a granted page into one of the mapper's."""
        extent = self.back.memory.allocate(1)
        own = [self.back.domid, False, extent.gfn(0), 0]
        op = [self.guest.domid, True, ref, 0, *own, 16]
        return self.back.hypercall.ask(list[int], HYPERVISOR_grant_table_op, 5, [op])[0]


@pytest.fixture
def grants(hv: Hypervisor, pair: tuple[Domain, Domain]) -> Iterator[Grants]:
    made = Grants(hv, *pair)
    yield made
    made.breaker.clear()


def refused(grants: Grants, ref: int) -> int:
    with pytest.raises(GrantError) as caught:
        grants.back.mapper.map(grants.guest.domid, ref)
    return caught.value.status


def test_the_second_map_fails(grants: Grants) -> None:
    number = grants.add("back -> guest", "grant=fail-map", "nth=2")
    first = grants.back.mapper.map(grants.guest.domid, grants.refs[0])
    assert refused(grants, grants.refs[1]) == GNTST_general_error
    third = grants.back.mapper.map(grants.guest.domid, grants.refs[1])
    assert third.view[0] == 2
    for mapping in (first, third):
        mapping.unmap()
    assert len(grants.breaker.fired(number)) == 1


def test_a_status_that_is_named_and_a_way_that_is_not(grants: Grants) -> None:
    number = grants.add("guest -> back", "grant=fail-map")
    grants.back.mapper.map(grants.guest.domid, grants.refs[0]).unmap()
    grants.breaker.remove(number)
    grants.add("guest <-> back", "grant=fail-map", "status=bad_page")
    assert refused(grants, grants.refs[0]) == GNTST_bad_page


def test_a_copy_fails(grants: Grants) -> None:
    number = grants.add("back -> guest", "grant=fail-copy", "after=1")
    statuses = [grants.copy(grants.refs[0]) for _ in range(2)]
    assert statuses == [0, GNTST_general_error]
    grants.breaker.remove(number)
    assert grants.copy(grants.refs[0]) == 0


def test_what_is_held_is_the_owners_again_when_the_rule_goes(grants: Grants) -> None:
    number = grants.add("back -> guest", "grant=hold", "times=1")
    ref = grants.refs[0]
    grants.back.mapper.map(grants.guest.domid, ref).unmap()
    for _ in range(2):
        with pytest.raises(GrantInUse):
            grants.guest.grants.end_access(ref)
    assert grants.breaker.fired(number) == [
        f"d{grants.back.domid} keeps ref {ref:#x} of d{grants.guest.domid} mapped"
    ]
    grants.breaker.remove(number)
    grants.guest.grants.end_access(ref)


def test_a_page_that_is_held_may_be_mapped_again(grants: Grants) -> None:
    grants.add("back -> guest", "grant=hold")
    for _ in range(2):
        mapping = grants.back.mapper.map(grants.guest.domid, grants.refs[1])
        assert bytes(mapping.view) == bytes([2]) * PAGE_SIZE
        mapping.unmap()


def test_what_is_held_goes_with_the_mapper(hv: Hypervisor, grants: Grants) -> None:
    grants.add("back -> guest", "grant=hold")
    grants.back.mapper.map(grants.guest.domid, grants.refs[0]).unmap()
    hv.destroy(grants.back)
    hv.domains.pop(grants.back.domid).close()
    grants.guest.grants.end_access(grants.refs[0])


def test_a_grant_is_taken_away(grants: Grants) -> None:
    number = grants.add("back -> guest", "grant=revoke", "nth=1")
    ref, other = grants.refs[:2]
    mapping = grants.back.mapper.map(grants.guest.domid, ref)
    assert mapping.view[0] == 1, "what is mapped stays"
    mapping.unmap()
    assert refused(grants, ref) == GNTST_bad_gntref
    assert grants.copy(ref) == GNTST_bad_gntref
    grants.back.mapper.map(grants.guest.domid, other).unmap()
    assert len(grants.breaker.fired(number)) == 1
    grants.breaker.remove(number)
    grants.back.mapper.map(grants.guest.domid, ref).unmap()


def test_a_grant_of_another_frame_is_another_grant(grants: Grants) -> None:
    grants.add("back -> guest", "grant=revoke", "nth=1")
    ref = grants.refs[0]
    grants.back.mapper.map(grants.guest.domid, ref).unmap()
    grants.guest.grants.end_access(ref)
    for again in granted(grants.guest, grants.back, 4):
        grants.back.mapper.map(grants.guest.domid, again).unmap()


def test_a_guest_whose_pages_cannot_be_mapped_gets_an_error(rig: Rig) -> None:
    rig.guest.args["vbd"] = {"persistent": False}
    back = rig.domain()
    rig.start(back)
    breaker = Breaker(rig.hv, rig.guest, back, ("vbd", VDEV, "xvda"))
    number = breaker.add("guest/xvda", "grant=fail-map", "times=1")
    assert rig.do(READ, 0, 1).status == BLKIF_RSP_ERROR
    assert rig.do(READ, 0, 1).status == BLKIF_RSP_OKAY
    assert len(breaker.fired(number)) == 1
    breaker.clear()
