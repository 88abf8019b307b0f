"""Tagged calls: one that waits holds up nothing else on its connection."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from hvsim.abi.domctl import (
    XEN_DOMCTL_destroydomain,
    XEN_DOMCTL_getdomaininfo,
    XEN_DOMCTL_pausedomain,
)
from hvsim.abi.errno import EBUSY, EINVAL
from hvsim.abi.grant_table import GNTMAP_host_map, GNTTABOP_map_grant_ref
from hvsim.abi.hypercall import (
    LATER,
    MAX_LATER,
    HYPERVISOR_domctl,
    HYPERVISOR_grant_table_op,
)
from hvsim.hypervisor.dispatch import Dispatcher
from hvsim.hypervisor.ends import DESTROY_TIMEOUT
from hvsim.hypervisor.ledger import Ledger
from hvsim.hypervisor.machine import Machine
from hvsim.wire.spawn import Spawn
from tests.hypervisor.client import Dom, Lab
from tests.hypervisor.fakes import FakeHost


@pytest.fixture
def guest(lab: Lab) -> Iterator[Dom]:
    guest = lab.guest()
    yield guest
    if lab.info(guest.domid) is not None:
        lab.destroy(guest.domid)


def tagged(dom: Dom, tag: Any, *message: Any) -> None:
    dom.sock.send(msgpack.packb([[tag], HYPERVISOR_domctl, *message]))


def test_a_late_answer_comes_between_those_to_others(lab: Lab, guest: Dom) -> None:
    """Red when a tagged call is left open like a plain one: the second is then never answered
    first."""
    tagged(lab.dom0, 7, XEN_DOMCTL_destroydomain, guest.domid)
    lab.dom0.send(HYPERVISOR_domctl, XEN_DOMCTL_getdomaininfo, 0)
    answers = [lab.dom0.receive()[0] for _ in range(3)]
    assert answers.pop(0) == [LATER]
    assert sorted(answers, key=str)[-1] == [[7], 0]
    assert [answer[0] if answer[0] != [7] else answer[1] for answer in answers] == [0, 0]
    assert lab.info(guest.domid) is None


def test_what_is_known_at_once_is_answered_at_once(lab: Lab, guest: Dom) -> None:
    tagged(lab.dom0, 1, XEN_DOMCTL_getdomaininfo, guest.domid)
    answer = lab.dom0.receive()[0]
    assert (answer[0], answer[1]["domid"]) == (0, guest.domid)
    tagged(lab.dom0, 1, XEN_DOMCTL_pausedomain, 0)
    assert lab.dom0.receive()[0] == [-EINVAL]


@pytest.mark.parametrize("tag", [0, -1, 1 << 31, "x", None])
def test_a_tag_that_is_none(lab: Lab, tag: Any) -> None:
    tagged(lab.dom0, tag, XEN_DOMCTL_getdomaininfo, 0)
    assert lab.dom0.receive()[0] == [-EINVAL]


def test_the_caller_may_go_before_its_answer(lab: Lab) -> None:
    """Nobody is there to be told, and the machine goes on."""
    doomed = lab.guest()
    tagged(doomed, 1, XEN_DOMCTL_destroydomain, doomed.domid)
    assert doomed.receive()[0][0] < 0
    os.kill(doomed.pid, signal.SIGKILL)
    lab.destroy(doomed.domid)


def test_open_calls_are_bounded() -> None:
    """Red without the bound: a process could fill the hypervisor's memory with open calls."""
    host = FakeHost()
    machine = Machine(host, Ledger(host.now), 256)
    dom0 = machine.create_dom0(32, 1, "kernel")
    root = machine.processes[machine.births.spawn(dom0, Spawn(process="kernel"), True).token]
    domain = machine.create_domain(bytes(16), 1, 24, 0)
    machine.births.load(domain, Spawn(process="main"))
    machine.births.unpause(domain)
    serve = Dispatcher(machine).serve

    def ask(tag: int) -> Any:
        call = [[tag], HYPERVISOR_domctl, XEN_DOMCTL_destroydomain, domain.domid]
        answer = serve(root, msgpack.packb(call))
        assert answer is not None
        return msgpack.unpackb(answer[0])

    assert [ask(tag + 1) for tag in range(MAX_LATER)] == [[LATER]] * MAX_LATER
    assert ask(MAX_LATER + 1) == [-EBUSY]
    host.advance(DESTROY_TIMEOUT)
    assert [address for address, _ in host.replies] == [
        (root.token, tag + 1) for tag in range(MAX_LATER)
    ]


def test_a_long_call_is_answered_with_its_tag() -> None:
    """A call in pieces, whose answer comes after the last; one with descriptors has no tag.

    Seen red with the answer to nobody's call (no tag)."""
    host = FakeHost()
    machine = Machine(host, Ledger(host.now), 1 << 12)
    dom0 = machine.create_dom0(32, 1, "kernel")
    root = machine.processes[machine.births.spawn(dom0, Spawn(process="kernel"), True).token]
    for number in range(20):
        machine.births.spawn(dom0, Spawn(process=f"p{number}"), False)
    serve = Dispatcher(machine).serve
    call = [[5], HYPERVISOR_domctl, XEN_DOMCTL_getdomaininfo, 0]
    answer = serve(root, msgpack.packb(call))
    assert answer is not None
    assert msgpack.unpackb(answer[0]) == [LATER]
    while machine.work.waiting:
        machine.work.turn()
    [(address, message)] = host.replies
    assert address == (root.token, 5)
    assert message[:2] == [[5], 0]
    assert message[2]["domid"] == 0


def test_a_long_call_with_a_tag_brings_no_descriptors(lab: Lab, guest: Dom) -> None:
    """A late answer has none: it is refused, and the hypervisor keeps none open for it."""
    peer = lab.guest()
    _, gfn, _ = guest.extent(1)
    guest.grant(8, peer.domid, gfn)
    batch = [[GNTMAP_host_map, 8, guest.domid]] * 64
    call = [[9], HYPERVISOR_grant_table_op, GNTTABOP_map_grant_ref, batch]
    peer.sock.send(msgpack.packb(call))
    assert peer.receive()[0] == [LATER]
    assert peer.receive() == ([[9], -EINVAL], [])
    lab.destroy(peer.domid)
