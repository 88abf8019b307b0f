"""Event channels on real doorbells: direct, mediated, and the swap on the running machine."""

import fcntl
import os
import time
from typing import Any

import pytest

from hvsim.abi.domctl import XEN_DOMCTL_getdomaininfo
from hvsim.abi.errno import EINVAL, ENOSPC
from hvsim.abi.event_channel import (
    EVTCHNOP_alloc_unbound,
    EVTCHNOP_bind_interdomain,
    EVTCHNOP_close,
    EVTCHNOP_send,
    EVTCHNOP_status,
    EVTCHNOP_unmask,
    EVTCHNSTAT_interdomain,
    EVTCHNSTAT_unbound,
)
from hvsim.abi.hypercall import (
    DOMID_SELF,
    HVSIM_DOMCTL_fault_add,
    HVSIM_DOMCTL_fault_remove,
    HVSIM_EVTCHN_fetch,
    HVSIM_EVTCHN_mask,
    HYPERVISOR_hvsim_op,
    HYPERVISOR_xen_version,
    XENVER_version,
)
from hvsim.wire.fault import Rule, When
from hvsim.wire.typed import write
from tests.hypervisor.client import Dom, Lab, rung
from tests.support.bells import heard, ring, silence


def wire(lab: Lab) -> tuple[Dom, Dom, int, int, list[int], list[int]]:
    """Two domains with a bound channel: front, back, their ports, their [rx, tx]."""
    front, back = lab.guest(), lab.guest()
    port = front.evtchn(EVTCHNOP_alloc_unbound, DOMID_SELF, back.domid)
    other, back_fds = back.evtchn_fds(EVTCHNOP_bind_interdomain, front.domid, port)
    assert rung(back_fds[0]), "the binder's port is pending at once"
    assert heard(front.upcall)
    rows, fds = front.evtchn_fds(HVSIM_EVTCHN_fetch)
    assert rows == [[port, EVTCHNSTAT_interdomain, 2]]
    return front, back, port, other, fds, back_fds


def break_bells(lab: Lab, sender: Dom, hearer: Dom, when: When | None = None, **how: Any) -> int:
    """A rule about what one domain sends another; its number."""
    handles = [
        bytes(lab.dom0.domctl(XEN_DOMCTL_getdomaininfo, d.domid)["handle"])
        for d in (sender, hearer)
    ]
    rule = Rule(
        domain=handles[0],
        peer=handles[1],
        seam="bell",
        settings={f"bell.{key}": value for key, value in how.items()},
        when=when or When(),
    )
    return int(lab.dom0.domctl(HVSIM_DOMCTL_fault_add, write(rule)))


def mediate(lab: Lab, sender: Dom, hearer: Dom) -> int:
    """A rule that lets everything pass."""
    return break_bells(lab, sender, hearer, When(after=1 << 40), drop=1.0)


def mend(lab: Lab, number: int) -> None:
    lab.dom0.domctl(HVSIM_DOMCTL_fault_remove, number)


def served(dom: Dom) -> None:
    """One call more: what was rung before has been served when it is answered."""
    for _ in range(3):
        dom.call(HYPERVISOR_xen_version, XENVER_version)


def test_direct(lab: Lab) -> None:
    front, _, port, other, fds, back_fds = wire(lab)
    ring(fds[1])
    assert rung(back_fds[0])
    ring(back_fds[1])
    assert rung(fds[0])
    status = front.evtchn(EVTCHNOP_status, DOMID_SELF, port)
    assert (status["status"], status["remote_port"]) == (EVTCHNSTAT_interdomain, other)


def test_only_the_named_domain_binds(lab: Lab) -> None:
    front, back, third = lab.guest(), lab.guest(), lab.guest()
    port = front.evtchn(EVTCHNOP_alloc_unbound, DOMID_SELF, back.domid)
    third.evtchn(EVTCHNOP_bind_interdomain, front.domid, port, expect=EINVAL)
    back.evtchn(EVTCHNOP_bind_interdomain, front.domid, port)
    back.evtchn(EVTCHNOP_bind_interdomain, front.domid, port, expect=EINVAL)


def test_close_and_bind_again(lab: Lab) -> None:
    """The wire survives the binder, for the same domain only."""
    front, back, port, other, fds, _ = wire(lab)
    back.evtchn(EVTCHNOP_close, other)
    front.evtchn(EVTCHNOP_send, port)
    lab.dom0.evtchn(EVTCHNOP_bind_interdomain, front.domid, port, expect=EINVAL)
    _, again = back.evtchn_fds(EVTCHNOP_bind_interdomain, front.domid, port)
    rung(again[0])
    ring(fds[1])
    assert rung(again[0])


def test_send_by_hypercall_and_mask(lab: Lab) -> None:
    front, back, port, other, _, back_fds = wire(lab)
    front.evtchn(EVTCHNOP_send, port)
    assert rung(back_fds[0])
    back.evtchn(HVSIM_EVTCHN_mask, other)
    front.evtchn(EVTCHNOP_send, port)
    assert not heard(back_fds[0])
    back.evtchn(EVTCHNOP_unmask, other)
    assert rung(back_fds[0])


def test_ports_made_for_a_domain_are_fetched(lab: Lab) -> None:
    domid = lab.create()
    port = lab.dom0.evtchn(EVTCHNOP_alloc_unbound, domid, 0)
    lab.dom0.domctl(4, domid)
    guest = lab.adopt()
    rows, fds = guest.evtchn_fds(HVSIM_EVTCHN_fetch)
    assert (rows, fds) == ([[port, EVTCHNSTAT_unbound, 0]], [])
    assert guest.evtchn_fds(HVSIM_EVTCHN_fetch) == ([], [])
    later = lab.dom0.evtchn(EVTCHNOP_alloc_unbound, domid, 0)
    assert heard(guest.upcall)
    assert guest.evtchn_fds(HVSIM_EVTCHN_fetch)[0][0][0] == later


def test_dom0_is_born_with_a_store_port(lab: Lab) -> None:
    rows, fds = lab.dom0.evtchn_fds(HVSIM_EVTCHN_fetch)
    info = lab.dom0.call(HYPERVISOR_hvsim_op, 0)
    assert (rows, fds) == ([[info["store_port"], EVTCHNSTAT_unbound, 0]], [])
    local, _ = lab.dom0.evtchn_fds(EVTCHNOP_bind_interdomain, 0, info["store_port"])
    lab.dom0.evtchn(EVTCHNOP_close, local)


def test_swap_on_the_running_machine(lab: Lab) -> None:
    """direct -> mediated -> direct: no notify is lost, and each is carried in between."""
    front, back, port, _, fds, back_fds = wire(lab)
    number = mediate(lab, front, back)
    assert heard(front.upcall)
    ring(fds[1])
    assert rung(back_fds[0]), "the old wire works until the new one is fetched"
    rows, (_, tx) = front.evtchn_fds(HVSIM_EVTCHN_fetch)
    assert rows == [[port, EVTCHNSTAT_interdomain, 2]]
    ring(tx)
    assert rung(back_fds[0])
    mend(lab, number)
    ring(tx)
    assert rung(back_fds[0]), "the inlet is carried until the direct wire is fetched"
    ring(tx)
    _, (_, direct) = front.evtchn_fds(HVSIM_EVTCHN_fetch)
    assert rung(back_fds[0])
    ring(direct)
    assert rung(back_fds[0])


def test_dropped(lab: Lab) -> None:
    front, back, _, _, _, back_fds = wire(lab)
    number = break_bells(lab, front, back, drop=1.0)
    _, (_, tx) = front.evtchn_fds(HVSIM_EVTCHN_fetch)
    ring(tx)
    served(front)
    assert not heard(back_fds[0])
    mend(lab, number)
    ring(tx)
    assert rung(back_fds[0])


def test_delayed(lab: Lab) -> None:
    """It comes, and not sooner than was said.  Seen red with a rule that delays by nothing."""
    front, back, _, _, _, back_fds = wire(lab)
    break_bells(lab, front, back, delay=[0.02, 0.02])
    _, (_, tx) = front.evtchn_fds(HVSIM_EVTCHN_fetch)
    sent = time.monotonic()
    ring(tx)
    assert rung(back_fds[0])
    assert time.monotonic() - sent >= 0.020


def test_a_bell_that_is_filled_and_made_to_wait_stops_nobody(lab: Lab) -> None:
    """Seen red with bells that are rung by a write: the hypervisor hangs in it."""
    front, back, port, _, fds, back_fds = wire(lab)
    mediate(lab, front, back)
    _, (_, tx) = front.evtchn_fds(HVSIM_EVTCHN_fetch)
    for fd in (fds[1], tx, back.upcall):
        fcntl.fcntl(fd, fcntl.F_SETFL, 0)
        silence(fd)
    ring(tx)
    front.evtchn(EVTCHNOP_send, port)
    served(front)
    assert rung(back_fds[0])


def test_the_last_port_is_refused(lab: Lab) -> None:
    guest = lab.guest()
    for _ in range(1023):
        guest.evtchn(EVTCHNOP_alloc_unbound, DOMID_SELF, 0)
    guest.evtchn(EVTCHNOP_alloc_unbound, DOMID_SELF, 0, expect=ENOSPC)
    lab.dom0.call(HYPERVISOR_xen_version, XENVER_version)


def test_dom0_has_thousands_of_ports(lab: Lab) -> None:
    """Nobody holds a descriptor for a port that is not bound.  Seen red: with a limit of 4095, and
    with wires that are made with their ports."""
    held = len(os.listdir(f"/proc/{lab.process.pid}/fd"))
    ports = [lab.dom0.evtchn(EVTCHNOP_alloc_unbound, DOMID_SELF, 0) for _ in range(5000)]
    assert len(set(ports)) == 5000
    assert len(os.listdir(f"/proc/{lab.process.pid}/fd")) <= held + 2
    for port in ports:
        lab.dom0.evtchn(EVTCHNOP_close, port)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"drop": 2},
        {"drop": True},
        {"delay": [5.0, 1.0]},
        {"delay": 3},
        {"delay": [0.0, 61.0]},
        {"storm": 1e9},
        {"storm": "much"},
    ],
)
def test_bad_rules(lab: Lab, how: dict[str, Any]) -> None:
    settings = {f"bell.{key}": value for key, value in how.items()}
    rule = Rule(peer=bytes(16), seam="bell", settings=settings)
    lab.dom0.domctl(HVSIM_DOMCTL_fault_add, write(rule), expect=EINVAL)
