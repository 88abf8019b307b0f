"""Event channels over real doorbells.

The hypervisor's answers are scripted here, since its rarer ones matter; the ordinary ones are
tested with the real hypervisor in test_two_domains.py.
"""

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from hvsim.abi.errno import EINVAL
from hvsim.domain.events import EventChannels
from hvsim.domain.hypercall import HypercallError
from hvsim.domain.vcpu import VCPU
from tests.support.bells import make, ring
from tests.support.bells import silence as rung
from tests.support.farend import FarEnd


@dataclass
class Rig:
    far: FarEnd
    vcpu: VCPU
    events: EventChannels
    upcall: int


@pytest.fixture
def fds() -> Iterator[list[int]]:
    fds = [make() for _ in range(6)]
    yield fds
    for fd in fds:
        os.close(fd)


@pytest.fixture
def rig() -> Iterator[Rig]:
    before = len(os.listdir("/proc/self/fd"))
    far, vcpu, upcall = FarEnd(), VCPU(), make()
    far.answer([0, []])
    rig = Rig(far, vcpu, EventChannels(far.client, vcpu, upcall), upcall)
    yield rig
    rig.events.close_all()
    vcpu.close()
    far.close()
    assert len(os.listdir("/proc/self/fd")) == before, "no descriptor is left"


def test_ports_that_were_made_for_us_are_fetched_at_the_start(fds: list[int]) -> None:
    far, vcpu = FarEnd(), VCPU()
    far.answer([0, [[1, 2, 2], [2, 2, 2]]], fds[:4])
    events = EventChannels(far.client, vcpu, make())
    assert events.ports() == [1, 2]
    events.notify(2)
    assert [rung(fd) for fd in fds[:4]] == [0, 0, 0, 1]
    events.close_all()
    vcpu.close()
    far.close()


def test_notify_rings_and_merges(rig: Rig, fds: list[int]) -> None:
    rig.far.answer([0, 7], fds[:2])
    port = rig.events.bind_interdomain(3, 1)
    assert port == 7
    for _ in range(3):
        rig.events.notify(port)
    assert rung(fds[1]) == 3


def test_a_port_has_no_descriptor_before_it_is_bound(rig: Rig, fds: list[int]) -> None:
    """It can be rung, masked and given a handler all the same; when it is bound, the handler looks
    once, and what is rung comes without the hypervisor.  Seen red: with a handler that is
    forgotten."""
    seen: list[int] = []
    rig.far.answer([0, 7])
    port = rig.events.alloc_unbound(3)
    assert rig.events.ports() == [7]
    rig.far.answer([0])
    rig.events.notify(port)
    assert rig.far.requests[-1] == [32, 4, 7], "EVTCHNOP_send: the hypervisor knows whom to ring"
    rig.events.set_handler(port, lambda: seen.append(1))
    rig.vcpu.dispatch()
    assert seen == [1]
    assert not rig.vcpu.block(0.0, port=port)
    rig.far.answer([0, [[7, 1, 2]]], fds[:2])
    ring(rig.upcall)
    rig.vcpu.run_until(lambda: len(seen) == 2, 5.0, "a look when it is bound")
    rig.events.notify(port)
    assert rung(fds[1]) == 1
    ring(fds[0])
    assert rig.vcpu.block(5.0, port=port)


@pytest.mark.parametrize("flags", [0, os.O_NONBLOCK, os.O_APPEND])
def test_a_peer_that_fills_the_counter_or_empties_it_cannot_make_us_wait(
    rig: Rig, fds: list[int], flags: int
) -> None:
    """Seen red (hung) with a bell that is rung by write(2), and with one without EFD_SEMAPHORE."""
    rig.far.answer([0, 7], fds[:2])
    port = rig.events.bind_interdomain(3, 1)
    fcntl.fcntl(fds[1], fcntl.F_SETFL, flags)
    rig.events.notify(port)
    assert rung(fds[1]) == 1, "which filled it up again"
    rig.events.notify(port)
    os.read(fds[1], 4096)
    rig.events.notify(port)
    assert rung(fds[1]) == 3


def test_a_virq_has_no_other_side_to_ring(rig: Rig, fds: list[int]) -> None:
    rig.far.answer([0, 4], fds[:1])
    port = rig.events.bind_virq(3)
    rig.far.answer([-EINVAL])
    with pytest.raises(HypercallError):
        rig.events.notify(port)
    assert rig.far.requests[-1] == [32, 4, 4], "EVTCHNOP_send: the hypervisor says why"


def test_wires_are_swapped_under_a_live_port(rig: Rig, fds: list[int]) -> None:
    seen: list[int] = []
    rig.far.answer([0, 7], fds[:2])
    port = rig.events.bind_interdomain(3, 1, lambda: seen.append(1))
    rig.far.answer([0, [[7, 2, 2]]], [fds[0], fds[2]])
    ring(rig.upcall)
    rig.vcpu.run_until(lambda: bool(seen), 5.0, "a look after the swap")
    rig.events.notify(port)
    assert (rung(fds[1]), rung(fds[2])) == (0, 1)
    ring(fds[0])
    rig.vcpu.run_until(lambda: len(seen) == 2, 5.0, "an event over the new wire")


def test_after_close_nothing_reaches_the_port(rig: Rig, fds: list[int]) -> None:
    rig.far.answer([0, 7], fds[:2])
    port = rig.events.bind_interdomain(3, 1, lambda: pytest.fail("rang"))
    rig.far.answer([0])
    rig.events.close(port)
    ring(fds[0])
    assert not rig.vcpu.block(0.0)
    for use in (rig.events.close, rig.events.mask, rig.events.unmask):
        with pytest.raises(HypercallError) as caught:
            use(port)
        assert caught.value.errno == EINVAL


def test_mask_is_told_to_the_hypervisor_and_kept_here(rig: Rig, fds: list[int]) -> None:
    seen: list[int] = []
    rig.far.answer([0, 7], fds[:2])
    port = rig.events.bind_interdomain(3, 1, lambda: seen.append(1))
    rig.far.answer([0])
    rig.events.mask(port)
    ring(fds[0])
    rig.vcpu.block(0.0)
    rig.vcpu.dispatch()
    assert seen == []
    rig.far.answer([0])
    rig.events.unmask(port)
    rig.vcpu.dispatch()
    assert seen == [1]
    assert [request[1] for request in rig.far.requests[-2:]] == [0x100, 9]
