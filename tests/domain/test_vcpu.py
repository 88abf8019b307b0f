"""The one wait, with real doorbells, sockets and timers."""

import os
import socket
from collections.abc import Iterator, Sequence

import pytest

from hvsim.domain.vcpu import VCPU
from hvsim.errors import TimedOut
from hvsim.wire import doorbell


class Bell:
    """A doorbell as the hypervisor makes them."""

    def __init__(self) -> None:
        self.fd = doorbell.make()

    def ring(self) -> None:
        doorbell.ring(self.fd)


@pytest.fixture
def vcpu() -> Iterator[VCPU]:
    vcpu = VCPU()
    yield vcpu
    vcpu.close()


@pytest.fixture
def bells() -> Iterator[list[Bell]]:
    bells = [Bell() for _ in range(4)]
    yield bells
    for bell in bells:
        os.close(bell.fd)


def test_every_ring_is_seen_though_nobody_reads_the_eventfd(vcpu: VCPU, bells: list[Bell]) -> None:
    seen: list[int] = []
    vcpu.open_port(5, bells[0].fd, lambda: seen.append(5))
    for _ in range(3):
        bells[0].ring()
        assert vcpu.block(1.0)
        vcpu.dispatch()
    assert seen == [5, 5, 5]
    assert not vcpu.block(0.0)


def test_rings_before_a_dispatch_merge(vcpu: VCPU, bells: list[Bell]) -> None:
    seen: list[int] = []
    vcpu.open_port(1, bells[0].fd, lambda: seen.append(1))
    for _ in range(10):
        bells[0].ring()
    vcpu.block(1.0)
    vcpu.dispatch()
    vcpu.dispatch()
    assert seen == [1]


def test_a_ring_that_came_before_the_port_was_opened_is_seen(vcpu: VCPU, bells: list[Bell]) -> None:
    bells[0].ring()
    vcpu.open_port(1, bells[0].fd, lambda: None)
    assert vcpu.block(1.0)


def test_a_ring_during_the_handler_is_not_lost(vcpu: VCPU, bells: list[Bell]) -> None:
    seen: list[int] = []

    def handler() -> None:
        seen.append(1)
        if len(seen) == 1:
            bells[0].ring()

    vcpu.open_port(1, bells[0].fd, handler)
    bells[0].ring()
    vcpu.run_until(lambda: len(seen) == 2, 1.0, "the second ring")


def test_waiting_for_one_port_leaves_the_others_pending(vcpu: VCPU, bells: list[Bell]) -> None:
    seen: list[int] = []
    for port, bell in enumerate(bells):
        vcpu.open_port(port, bell.fd, lambda port=port: seen.append(port))  # type: ignore[misc]
    bells[1].ring()
    bells[2].ring()
    bells[3].ring()
    assert vcpu.block(1.0, port=2)
    assert seen == [], "block() runs no handler"
    assert not vcpu.block(0.0, port=2), "its event was taken"
    assert vcpu.block(0.0)
    vcpu.dispatch()
    assert sorted(seen) == [1, 3]


def test_waiting_for_one_port_inside_a_handler(vcpu: VCPU, bells: list[Bell]) -> None:
    order: list[str] = []

    def first() -> None:
        order.append("first in")
        bells[1].ring()
        bells[2].ring()
        assert vcpu.block(1.0, port=1)
        order.append("first out")

    vcpu.open_port(0, bells[0].fd, first)
    vcpu.open_port(1, bells[1].fd, lambda: order.append("taken"))
    vcpu.open_port(2, bells[2].fd, lambda: order.append("second"))
    bells[0].ring()
    vcpu.run_until(lambda: "second" in order, 1.0, "the other port")
    assert order == ["first in", "first out", "second"]


def test_waiting_for_a_port_that_is_pending_in_the_running_batch(
    vcpu: VCPU, bells: list[Bell]
) -> None:
    order: list[str] = []

    def first() -> None:
        assert vcpu.block(1.0, port=1)
        order.append("first")

    vcpu.open_port(0, bells[0].fd, first)
    vcpu.open_port(1, bells[1].fd, lambda: order.append("second"))
    vcpu.set_pending(0)
    vcpu.set_pending(1)
    vcpu.dispatch()
    assert order == ["first"], "the event was taken by the wait, so the handler does not run"
    bells[1].ring()
    vcpu.block(1.0)
    vcpu.dispatch()
    assert order == ["first", "second"]


def test_handlers_are_never_re_entered(vcpu: VCPU, bells: list[Bell]) -> None:
    vcpu.open_port(0, bells[0].fd, vcpu.dispatch)
    bells[0].ring()
    vcpu.block(1.0)
    with pytest.raises(RuntimeError, match="inside a handler"):
        vcpu.dispatch()
    vcpu.dispatch()  # and the loop is usable afterwards


def test_an_exception_leaves_the_rest_pending(vcpu: VCPU, bells: list[Bell]) -> None:
    seen: list[int] = []

    def bad() -> None:
        raise KeyError("boom")

    vcpu.open_port(0, bells[0].fd, bad)
    vcpu.open_port(1, bells[1].fd, lambda: seen.append(1))
    vcpu.set_pending(0)
    vcpu.set_pending(1)
    with pytest.raises(KeyError):
        vcpu.dispatch()
    vcpu.dispatch()
    assert seen == [1]


def test_a_closed_port_is_silent_though_the_peer_keeps_the_eventfd(
    vcpu: VCPU, bells: list[Bell]
) -> None:
    seen: list[int] = []
    peers = os.dup(bells[0].fd)
    vcpu.open_port(0, bells[0].fd, lambda: seen.append(0))
    bells[0].ring()
    vcpu.block(1.0)
    vcpu.close_port(0)
    vcpu.dispatch()
    doorbell.ring(peers)
    os.close(peers)
    assert not vcpu.block(0.0)
    assert seen == []
    with pytest.raises(KeyError):
        vcpu.block(0.0, port=0)


def test_a_reused_descriptor_number_does_not_hear_its_predecessors_peer(
    vcpu: VCPU, bells: list[Bell]
) -> None:
    """epoll keeps what was registered until the last holder closes it, and the peer is one."""
    old = Bell()
    peers = os.dup(old.fd)
    vcpu.open_port(0, old.fd, None)
    vcpu.close_port(0)
    os.close(old.fd)
    new = Bell()
    assert new.fd == old.fd, "the lowest free number is given out again"
    vcpu.open_port(1, new.fd, None)
    doorbell.ring(peers)
    assert not vcpu.block(0.0)
    vcpu.close_port(1)
    os.close(new.fd)
    os.close(peers)


def test_a_swapped_eventfd_makes_the_port_pending(vcpu: VCPU, bells: list[Bell]) -> None:
    seen: list[int] = []
    vcpu.open_port(0, bells[0].fd, lambda: seen.append(0))
    vcpu.replace_port(0, bells[1].fd)
    vcpu.block(0.0)
    vcpu.dispatch()
    bells[0].ring()
    assert not vcpu.block(0.0)
    bells[1].ring()
    assert vcpu.block(1.0)
    vcpu.dispatch()
    assert seen == [0, 0]


def test_a_new_handler_looks_once(vcpu: VCPU, bells: list[Bell]) -> None:
    seen: list[str] = []
    vcpu.open_port(0, bells[0].fd, None)
    bells[0].ring()
    vcpu.block(1.0)
    vcpu.dispatch()
    vcpu.set_port_handler(0, lambda: seen.append("looked"))
    vcpu.block(0.0)
    vcpu.dispatch()
    assert seen == ["looked"]


def test_what_is_always_pending_does_not_hide_the_others(vcpu: VCPU, bells: list[Bell]) -> None:
    """Red when ``block`` returns for what is pending without a look at the descriptors."""
    busy, other = bells[0], bells[1]
    heard: list[str] = []

    def again() -> None:
        vcpu.set_pending(1)

    vcpu.open_port(1, busy.fd, again)
    vcpu.open_port(2, other.fd, lambda: heard.append("other"))
    busy.ring()
    vcpu.block(0)
    vcpu.dispatch()
    other.ring()
    for _ in range(3):
        assert vcpu.block(0)
        vcpu.dispatch()
    assert heard == ["other"]


def test_a_masked_port_waits_and_is_delivered_after_unmask(vcpu: VCPU, bells: list[Bell]) -> None:
    seen: list[int] = []
    vcpu.open_port(0, bells[0].fd, lambda: seen.append(0))
    vcpu.mask_port(0, True)
    bells[0].ring()
    vcpu.block(0.0)
    vcpu.dispatch()
    assert seen == []
    vcpu.mask_port(0, False)
    vcpu.dispatch()
    assert seen == [0]


def test_the_upcall_runs_while_one_port_is_waited_for(vcpu: VCPU, bells: list[Bell]) -> None:
    """A swap of descriptors while someone waits for that very port: without the fetch inside the
    wait it would sleep on the old eventfd for ever."""
    vcpu.open_port(7, bells[0].fd, None)
    vcpu.add_upcall(bells[1].fd, lambda: vcpu.replace_port(7, bells[2].fd))
    bells[1].ring()
    assert vcpu.block(5.0, port=7)


def test_a_hang_up_is_noticed_inside_any_wait(vcpu: VCPU, bells: list[Bell]) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    class Gone(Exception):
        pass

    def gone() -> None:
        raise Gone

    with ours:
        vcpu.add_hangup(ours.fileno(), gone)
        vcpu.open_port(0, bells[0].fd, None)
        theirs.send(b"a reply that nobody has read yet")
        assert not vcpu.block(0.0)
        theirs.close()
        with pytest.raises(Gone):
            vcpu.block(5.0, port=0)


def test_run_until_names_what_it_waited_for(vcpu: VCPU) -> None:
    with pytest.raises(TimedOut) as caught:
        vcpu.run_until(lambda: False, 0.01, "device/vbd/51712 to reach Connected")
    assert caught.value.what == "device/vbd/51712 to reach Connected"
    assert str(caught.value) == "waited 0.01 s for device/vbd/51712 to reach Connected"


def test_timers_do_not_run_while_one_port_is_waited_for(vcpu: VCPU, bells: list[Bell]) -> None:
    fired: list[int] = []
    vcpu.open_port(0, bells[0].fd, None)
    vcpu.call_later(0.0, lambda: fired.append(1))
    assert not vcpu.block(0.0, port=0)
    assert fired == []
    vcpu.dispatch()
    assert fired == [1]


# ---- descriptors of edge daemons ----


def test_descriptors_are_level_triggered_and_do_not_spin_a_port_wait(
    vcpu: VCPU, bells: list[Bell]
) -> None:
    ours, theirs = socket.socketpair()
    seen: list[bytes] = []
    with ours, theirs:
        vcpu.add_fd(ours.fileno(), lambda: seen.append(ours.recv(1)))
        vcpu.open_port(0, bells[0].fd, None)
        theirs.send(b"ab")
        polls = 0
        wait = vcpu.wait

        def counted(timeout: float, until: int) -> Sequence[int]:
            nonlocal polls
            polls += 1
            return wait(timeout, until)

        vcpu.wait = counted
        assert not vcpu.block(0.02, port=0)
        assert polls <= 3, "reported once, then quiet until its handler ran"
        vcpu.run_until(lambda: len(seen) == 2, 1.0, "both bytes")
        assert seen == [b"a", b"b"]
        vcpu.remove_fd(ours.fileno())
        theirs.send(b"c")
        assert not vcpu.block(0.0)


def test_a_hang_up_does_not_spin_a_port_wait(vcpu: VCPU, bells: list[Bell]) -> None:
    ours, theirs = socket.socketpair()
    seen: list[bytes] = []
    with ours, theirs:
        vcpu.add_fd(ours.fileno(), lambda: seen.append(ours.recv(1)))
        vcpu.modify_fd(ours.fileno(), write=False, read=False)
        vcpu.open_port(0, bells[0].fd, None)
        theirs.close()
        wait, polls = vcpu.wait, []

        def counted(timeout: float, until: int) -> Sequence[int]:
            polls.append(timeout)
            return wait(timeout, until)

        vcpu.wait = counted
        assert not vcpu.block(0.02, port=0)
        assert len(polls) <= 3
        vcpu.dispatch()
        assert vcpu.block(1.0), "its handler has run: it is listened to again"
        vcpu.remove_fd(ours.fileno())
    assert seen == [b""]


def test_write_interest_can_be_switched(vcpu: VCPU) -> None:
    ours, theirs = socket.socketpair()
    calls: list[int] = []
    with ours, theirs:

        def handler() -> None:
            calls.append(1)
            vcpu.modify_fd(ours.fileno(), write=False)

        vcpu.add_fd(ours.fileno(), handler, write=True)
        assert vcpu.block(1.0)
        vcpu.dispatch()
        assert not vcpu.block(0.0)
        vcpu.modify_fd(ours.fileno(), write=True)
        assert vcpu.block(1.0)
        vcpu.dispatch()
        theirs.close()
        assert vcpu.block(1.0), "a hang-up is reported as readable"
        vcpu.dispatch()
        vcpu.remove_fd(ours.fileno())
        vcpu.remove_fd(ours.fileno())
    assert len(calls) == 3
