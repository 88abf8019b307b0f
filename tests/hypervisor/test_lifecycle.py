"""Birth, pause, shutdown, death and the time after: zombies, VIRQ_DOM_EXC, what is released."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hvsim.abi import domctl
from hvsim.abi.errno import EBUSY, EEXIST, EINVAL, ENOENT, ESRCH
from hvsim.abi.event_channel import (
    VIRQ_DOM_EXC,
    EVTCHNOP_alloc_unbound,
    EVTCHNOP_bind_interdomain,
    EVTCHNOP_bind_virq,
    EVTCHNOP_status,
    EVTCHNSTAT_unbound,
)
from hvsim.abi.grant_table import GNTST_bad_domain, GNTTABOP_unmap_grant_ref
from hvsim.abi.hypercall import (
    DOMID_SELF,
    HVSIM_DOMCTL_fault,
    HVSIM_DOMCTL_load,
    HVSIM_DOMCTL_populate,
    HVSIM_DOMCTL_spawn,
    HVSIM_GNTTAB_in_use,
    HVSIM_SYSCTL_processes,
    HYPERVISOR_grant_table_op,
    HYPERVISOR_sched_op,
    HYPERVISOR_sysctl,
)
from hvsim.abi.sched import (
    SCHEDOP_remote_shutdown,
    SCHEDOP_shutdown,
    SHUTDOWN_crash,
    SHUTDOWN_poweroff,
    SHUTDOWN_reboot,
)
from tests.hypervisor.client import Dom, Lab, readable, rung
from tests.support.bells import silence


@pytest.fixture
def dom_exc(lab: Lab) -> Iterator[int]:
    """The bell of VIRQ_DOM_EXC."""
    port, (fd,) = lab.dom0.evtchn_fds(EVTCHNOP_bind_virq, VIRQ_DOM_EXC, 0)
    yield fd
    lab.dom0.evtchn(3, port)


def until(bell: int, what: Callable[[], bool]) -> None:
    """Wait until something holds; looks again whenever the bell rings."""
    while not what():
        assert rung(bell), "VIRQ_DOM_EXC did not ring"


def stopped(pid: int, wanted: bool) -> bool:
    """Wait (bounded) until a process is stopped, or is not: signals take a moment."""
    for _ in range(2000):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if (state == "T") == wanted:
            return True
        time.sleep(0.005)
    return False


def free_pages(lab: Lab) -> int:
    return int(lab.dom0.call(HYPERVISOR_sysctl, domctl.XEN_SYSCTL_physinfo)["free_pages"])


def test_domids_count_up(lab: Lab) -> None:
    first = lab.create()
    lab.destroy(first)
    assert lab.create() == first + 1
    assert lab.info(first) is None


def test_pause_is_counted_and_stops_the_process(lab: Lab) -> None:
    guest = lab.guest()
    for _ in range(2):
        lab.dom0.domctl(domctl.XEN_DOMCTL_pausedomain, guest.domid)
    lab.dom0.domctl(domctl.XEN_DOMCTL_unpausedomain, guest.domid)
    assert lab.info(guest.domid)["flags"]["paused"]
    assert stopped(guest.pid, True)
    lab.dom0.domctl(domctl.XEN_DOMCTL_unpausedomain, guest.domid)
    assert not lab.info(guest.domid)["flags"]["paused"]
    assert stopped(guest.pid, False)


def test_stall_and_pause_are_apart(lab: Lab) -> None:
    guest = lab.guest()
    assert lab.dom0.domctl(HVSIM_DOMCTL_fault, guest.domid, "", "stall") == guest.pid
    lab.dom0.domctl(domctl.XEN_DOMCTL_pausedomain, guest.domid)
    lab.dom0.domctl(domctl.XEN_DOMCTL_unpausedomain, guest.domid)
    assert stopped(guest.pid, True)
    lab.dom0.domctl(HVSIM_DOMCTL_fault, guest.domid, "", "resume")
    assert stopped(guest.pid, False)
    lab.dom0.domctl(HVSIM_DOMCTL_fault, guest.domid, "", "explode", expect=EINVAL)
    lab.dom0.domctl(HVSIM_DOMCTL_fault, guest.domid, "nobody", "kill", expect=ENOENT)


def test_a_killed_process_is_a_crash(lab: Lab, dom_exc: int) -> None:
    guest = lab.guest()
    lab.dom0.domctl(HVSIM_DOMCTL_fault, guest.domid, "main", "kill")
    until(dom_exc, lambda: lab.info(guest.domid)["flags"]["shutdown"])
    assert lab.info(guest.domid)["shutdown_reason"] == SHUTDOWN_crash
    lab.destroy(guest.domid)
    assert lab.info(guest.domid) is None


def test_shutdown_is_declared_when_the_process_is_gone(lab: Lab, dom_exc: int) -> None:
    guest = lab.guest()
    pidfd = os.pidfd_open(guest.pid)
    guest.call(HYPERVISOR_sched_op, SCHEDOP_shutdown, SHUTDOWN_reboot)
    assert not lab.info(guest.domid)["flags"]["shutdown"]
    guest.die()
    until(dom_exc, lambda: lab.info(guest.domid)["flags"]["shutdown"])
    assert readable(pidfd), "it is really gone by now"
    os.close(pidfd)
    assert lab.info(guest.domid)["shutdown_reason"] == SHUTDOWN_reboot


def test_a_domain_that_lingers_after_shutdown_is_killed(lab: Lab, dom_exc: int) -> None:
    guest = lab.guest()
    guest.call(HYPERVISOR_sched_op, SCHEDOP_shutdown, SHUTDOWN_poweroff)
    until(dom_exc, lambda: lab.info(guest.domid)["flags"]["shutdown"])


def test_remote_shutdown(lab: Lab, dom_exc: int) -> None:
    guest = lab.guest()
    lab.dom0.call(HYPERVISOR_sched_op, SCHEDOP_remote_shutdown, guest.domid, SHUTDOWN_crash)
    until(dom_exc, lambda: lab.info(guest.domid)["flags"]["crashed"])


def test_destroy_is_answered_when_all_is_released(lab: Lab) -> None:
    free = free_pages(lab)
    guest, gone = lab.guest(100), lab.guest(100)
    pidfd = os.pidfd_open(gone.pid)
    gone.extent(3)
    lab.destroy(gone.domid)
    assert readable(pidfd), "it is really gone by now"
    os.close(pidfd)
    assert free_pages(lab) == free - 100
    lab.destroy(guest.domid)
    assert free_pages(lab) == free


def share(front: Dom, back: Dom) -> list[int]:
    _, gfn, _ = front.extent(2)
    front.grant(8, back.domid, gfn)
    rows, fds = back.map(front.domid, 8)
    back.let_go(*fds)
    return [row[1] for row in rows]


def test_zombie_until_the_peer_lets_go(lab: Lab, dom_exc: int) -> None:
    front, back = lab.guest(), lab.guest()
    free = free_pages(lab)
    handles = share(front, back)
    lab.destroy(front.domid)
    info = lab.info(front.domid)
    assert info["flags"]["dying"]
    assert info["tot_pages"] == 2
    assert free_pages(lab) == free + 62
    assert back.map(front.domid, 8)[0][0][0] == GNTST_bad_domain
    lab.destroy(front.domid)
    silence(dom_exc)
    back.call(HYPERVISOR_grant_table_op, GNTTABOP_unmap_grant_ref, handles)
    assert rung(dom_exc)
    assert lab.info(front.domid) is None
    assert free_pages(lab) == free + 64


def test_the_mapper_dies(lab: Lab, dom_exc: int) -> None:
    """Its maps and in-use counts go with it, and not before it is gone."""
    front, back = lab.guest(), lab.guest()
    share(front, back)
    front.grant(8, 0, 0, 0)
    assert front.call(HYPERVISOR_grant_table_op, HVSIM_GNTTAB_in_use, [8]) == [1]
    back.die()
    until(dom_exc, lambda: lab.info(back.domid)["flags"]["shutdown"])
    assert front.call(HYPERVISOR_grant_table_op, HVSIM_GNTTAB_in_use, [8]) == [0]


def test_a_zombie_ends_with_its_mapper(lab: Lab) -> None:
    front, back = lab.guest(), lab.guest()
    share(front, back)
    lab.destroy(front.domid)
    assert lab.info(front.domid)
    lab.destroy(back.domid)
    assert lab.info(front.domid) is None


def test_ports_of_the_dead_are_unbound(lab: Lab) -> None:
    front, back = lab.guest(), lab.guest()
    port = front.evtchn(EVTCHNOP_alloc_unbound, DOMID_SELF, back.domid)
    back.evtchn(EVTCHNOP_bind_interdomain, front.domid, port)
    lab.destroy(back.domid)
    status = front.evtchn(EVTCHNOP_status, DOMID_SELF, port)
    assert (status["status"], status["remote_dom"]) == (EVTCHNSTAT_unbound, back.domid)


def test_more_processes_of_dom0(lab: Lab) -> None:
    """One that ends takes its ports, maps and extents along; dom0 goes on."""
    guest = lab.guest()
    spec = {"name": "Domain-0", "process": "helper", "program": "-", "profile": "dom0"}
    lab.dom0.domctl(HVSIM_DOMCTL_spawn, 0, spec)
    helper = lab.adopt()
    assert helper.domid == 0
    lab.dom0.domctl(HVSIM_DOMCTL_spawn, 0, spec, expect=EEXIST)
    port = helper.evtchn(EVTCHNOP_alloc_unbound, DOMID_SELF, guest.domid)
    lab.dom0.evtchn(3, port, expect=EINVAL)
    _, gfn, _ = helper.extent(1)
    helper.grant(99, guest.domid, gfn)
    guest.map(0, 99)
    before = processes(lab)
    lab.dom0.domctl(HVSIM_DOMCTL_fault, 0, "helper", "kill")
    os.close(wait_gone(helper.pid))
    while processes(lab) == before:
        pass
    guest.evtchn(EVTCHNOP_bind_interdomain, 0, port, expect=EINVAL)
    assert lab.info(0)["flags"]["shutdown"] is False
    assert helper.flags(99) & 3 == 0, "a dead process's grants are taken back"


def processes(lab: Lab) -> set[str]:
    rows = lab.dom0.call(HYPERVISOR_sysctl, HVSIM_SYSCTL_processes)
    return {row["process"] for row in rows if row["domid"] == 0 and row["alive"]}


def wait_gone(pid: int) -> int:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return os.open("/dev/null", os.O_RDONLY)
    assert readable(pidfd, 20.0)
    return pidfd


def test_a_process_that_cannot_be_made(lab: Lab, dom_exc: int) -> None:
    domid = lab.create()
    lab.dom0.domctl(HVSIM_DOMCTL_load, domid, {"name": "x", "program": "fail"})
    lab.dom0.domctl(domctl.XEN_DOMCTL_unpausedomain, domid)
    until(dom_exc, lambda: lab.info(domid)["flags"]["crashed"])
    text = lab.dom0.call(HYPERVISOR_sysctl, domctl.XEN_SYSCTL_readconsole, False)
    assert "told to fail" in text
    lab.destroy(domid)


def test_destroy_while_it_is_being_spawned(lab: Lab) -> None:
    domid = lab.create()
    lab.dom0.send(36, domctl.XEN_DOMCTL_unpausedomain, domid)
    lab.dom0.send(36, domctl.XEN_DOMCTL_destroydomain, domid)
    assert [lab.dom0.receive()[0] for _ in range(2)] == [[0], [0]]
    lab.adopt()
    assert lab.info(domid) is None
    lab.dom0.domctl(domctl.XEN_DOMCTL_getdomaininfo, domid, expect=ESRCH)


def test_a_destroyed_domain_takes_no_memory(lab: Lab) -> None:
    front, back = lab.guest(), lab.guest()
    share(front, back)
    lab.destroy(front.domid)
    lab.dom0.domctl(HVSIM_DOMCTL_populate, front.domid, 8, expect=EBUSY)


def test_end_of_dom0_is_the_end_of_the_machine() -> None:
    with Lab() as lab:
        guest = lab.guest()
        pidfds = [os.pidfd_open(pid) for pid in (guest.pid, lab.dom0.pid)]
        lab.dom0.die()
        assert lab.process.wait(20) == 1
        for pidfd in pidfds:
            assert readable(pidfd), "it is really gone by now"
            os.close(pidfd)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_orderly_stop(number: int) -> None:
    with Lab() as lab:
        guest = lab.guest()
        pidfd = os.pidfd_open(guest.pid)
        lab.process.send_signal(number)
        assert lab.process.wait(20) == 0
        assert readable(pidfd), "it is really gone by now"
        os.close(pidfd)
