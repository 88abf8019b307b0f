"""Event channels between two domains, on the real hypervisor."""

from pathlib import Path

import pytest

from hvsim.abi.errno import EINVAL, ESRCH
from hvsim.abi.event_channel import (
    VIRQ_DOM_EXC,
    EVTCHNSTAT_interdomain,
    EVTCHNSTAT_unbound,
)
from hvsim.domain import Domain, HypercallError
from tests.domain.pairs import a_hypervisor, descriptors, two_domains
from tests.faults.breaking import Breaker
from tests.support.hv import Hypervisor, HypervisorGone

__all__ = ["a_hypervisor", "two_domains"]


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
    breaker = Breaker(hv, one, two)
    for mode in ("mediated", "direct", "mediated", "direct"):
        if mode == "mediated":
            breaker.add("guest <-> back", "bell.drop=100%", f"after={1 << 40}")
        else:
            breaker.clear()
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

    def settled() -> None:
        for domain in pair:
            while domain.vcpu.block(0.1):
                domain.vcpu.dispatch()

    breaker = Breaker(hv, one, two)
    number = breaker.add("guest -> back", "bell.drop=100%")
    settled()
    before = len(seen)
    one.events.notify(port)
    assert not two.vcpu.block(0.2)
    assert len(seen) == before
    assert breaker.fired(number) == [f"d{one.domid} port {port} -> d{two.domid}: lost"]
    breaker.remove(number)
    settled()
    ring_and_see(one, port, two, seen)


def test_a_swap_while_that_very_port_is_waited_for(
    hv: Hypervisor, pair: tuple[Domain, Domain]
) -> None:
    one, two = pair
    port = one.events.alloc_unbound(two.domid)
    peer = two.events.bind_interdomain(one.domid, port)
    while two.vcpu.block(0.0, port=peer):
        pass
    breaker = Breaker(hv, one, two)
    breaker.add("guest <-> back", "bell.drop=100%", f"after={1 << 40}")
    one.events.notify(port)
    assert two.vcpu.block(10.0, port=peer)
    breaker.clear()


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
