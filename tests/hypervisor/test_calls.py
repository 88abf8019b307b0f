"""What calls answer, and what a hostile caller gets: an errno, a ledger line, nothing else."""

import contextlib
import os
import random
import signal

import msgpack
import pytest

from hvsim.abi import domctl
from hvsim.abi.errno import E2BIG, EBUSY, EEXIST, EINVAL, ENOMEM, ENOSYS, EPERM, ESRCH
from hvsim.abi.event_channel import VIRQ_DOM_EXC, EVTCHNOP_alloc_unbound, EVTCHNOP_bind_virq
from hvsim.abi.hypercall import (
    DOMID_SELF,
    HVSIM_DOMCTL_fault_add,
    HVSIM_DOMCTL_load,
    HVSIM_DOMCTL_populate,
    HVSIM_DOMCTL_set_target,
    HVSIM_MEM_alloc_extent,
    HVSIM_MEM_free_extent,
    HVSIM_MEM_get_extent,
    HVSIM_OP_note,
    HVSIM_OP_start_info,
    HVSIM_SYSCTL_ledger,
    HYPERVISOR_console_io,
    HYPERVISOR_grant_table_op,
    HYPERVISOR_hvsim_op,
    HYPERVISOR_memory_op,
    HYPERVISOR_sysctl,
    HYPERVISOR_vcpu_op,
    HYPERVISOR_xen_version,
    XENVER_version,
)
from hvsim.abi.memory import XENMEM_current_reservation
from hvsim.abi.sched import SCHEDOP_shutdown
from hvsim.abi.vcpu import VCPUOP_get_runstate_info, unpack_runstate
from hvsim.wire import rights
from tests.hypervisor.client import Lab, readable

MALFORMED = [
    b"",
    b"\xc1",
    b"\x00",
    msgpack.packb([]),
    msgpack.packb([17]),
    msgpack.packb(["17", 0]),
    msgpack.packb([17, [0]]),
    msgpack.packb([True, 0]),
    msgpack.packb([17.0, 0]),
    msgpack.packb({"call": 17}),
    b"\x91" * 2000,  # nested beyond reason
    b"\xdd\xff\xff\xff\xff",  # an array of 4 Gi entries
    msgpack.packb([17, 0]) + b"junk",
    msgpack.packb([32, 4, msgpack.ExtType(5, b"x")]),
    msgpack.packb([12, 3, 2**63]) + random.Random(1).randbytes(50),
]


@pytest.mark.parametrize("data", MALFORMED[1:], ids=range(1, len(MALFORMED)))
def test_malformed(lab: Lab, data: bytes) -> None:
    guest = lab.guest()
    assert guest.raw(data) == -EINVAL
    assert guest.call(HYPERVISOR_xen_version, XENVER_version) == 4 << 16 | 17


def test_oversized(lab: Lab) -> None:
    guest = lab.guest()
    guest.sock.setsockopt(1, 7, 1 << 20)
    assert guest.raw(msgpack.packb([18, 0, bytes(70000)])) == -E2BIG
    guest.call(HYPERVISOR_console_io, 0, bytes(20000), expect=E2BIG)


@pytest.mark.parametrize(
    ("call", "cmd", "args", "expect"),
    [
        (99, 0, (), ENOSYS),
        (12, 0x999, (), ENOSYS),
        (2**63, 2**63, (), ENOSYS),
        (12, XENMEM_current_reservation, (), EINVAL),
        (12, XENMEM_current_reservation, (0, 0), EINVAL),
        (12, XENMEM_current_reservation, ("0",), EINVAL),
        (12, XENMEM_current_reservation, (True,), EINVAL),
        (12, XENMEM_current_reservation, (0,), EPERM),
        (12, HVSIM_MEM_alloc_extent, (0, 0), EINVAL),
        (12, HVSIM_MEM_alloc_extent, (-1, 0), EINVAL),
        (12, HVSIM_MEM_alloc_extent, (2**63, 0), ENOMEM),
        (12, HVSIM_MEM_alloc_extent, (1, 1), EINVAL),
        (12, HVSIM_MEM_free_extent, (0,), EINVAL),
        (12, HVSIM_MEM_get_extent, (2**63,), EINVAL),
        (12, HVSIM_MEM_get_extent, (-1,), EINVAL),
        (20, 0, ([[2, 1]],), EINVAL),
        (20, 0, ([[2, 1, "0"]],), EINVAL),
        (20, 0, ([[2, 1, 0]] * 513,), E2BIG),
        (20, 1, ([[1]],), EINVAL),
        (20, 1, ([1] * 513,), E2BIG),
        (20, 2, (0,), EINVAL),
        (20, 5, ([[0, True, 1, 0, 0, True, 1, 0]],), EINVAL),
        (20, 0x100, ([-1],), EINVAL),
        (20, 0x100, ([2**40],), EINVAL),
        (24, VCPUOP_get_runstate_info, (1,), 2),
        (29, SCHEDOP_shutdown, (6,), EINVAL),
        (29, 4, (0, 0), EPERM),
        (32, EVTCHNOP_alloc_unbound, (0, 0), EPERM),
        (32, EVTCHNOP_alloc_unbound, (DOMID_SELF, 0x7FF4), EINVAL),
        (32, EVTCHNOP_alloc_unbound, (DOMID_SELF, -1), EINVAL),
        (32, EVTCHNOP_bind_virq, (VIRQ_DOM_EXC, 0), EPERM),
        (32, EVTCHNOP_bind_virq, (24, 0), EINVAL),
        (32, 0, (999, 1), ESRCH),
        (32, 0, (0, 999), EINVAL),
        (32, 3, (1,), EINVAL),
        (32, 4, (-5,), EINVAL),
        (32, 5, (0, 1), EPERM),
        (32, 9, (2**40,), EINVAL),
        (35, 6, (0, 10), EPERM),
        (35, 3, (), EPERM),
        (35, 1, (True,), EPERM),
        (35, 0x100, (0, 10), EPERM),
        (36, 1, ({},), EPERM),
        (36, 2, (0,), EPERM),
        (36, 4, (0,), EPERM),
        (36, 5, (0,), EPERM),
        (36, 0x104, (1, 0), EPERM),
        (36, 0x106, (0, "", "kill"), EPERM),
        (36, 0x107, (0, 1, 0, 16), EPERM),
        (36, HVSIM_DOMCTL_fault_add, ({},), EPERM),
    ],
)
def test_guest_refused(
    lab: Lab, call: int, cmd: int, args: tuple[object, ...], expect: int
) -> None:
    guest = lab.guest()
    guest.call(call, cmd, *args, expect=expect)


def test_refusals_are_in_the_ledger_at_a_limited_rate(lab: Lab) -> None:
    guest = lab.guest()
    for _ in range(200):
        guest.domctl(domctl.XEN_DOMCTL_destroydomain, 0, expect=EPERM)
    records, seq = [], 0
    while page := lab.dom0.call(HYPERVISOR_sysctl, HVSIM_SYSCTL_ledger, seq, 1000):
        records += page
        seq = page[-1]["seq"]
    mine = [r for r in records if r["domid"] == guest.domid and r["kind"] == "hypercall.refused"]
    assert 32 <= len(mine) < 150
    assert "EPERM" in mine[0]["text"]
    seqs = [record["seq"] for record in records]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def test_reply_flood_stalls_only_the_flooder(lab: Lab) -> None:
    """A domain that calls and never reads is not read from; the others are served."""
    flooder, other = lab.guest(), lab.guest()
    flooder.sock.setblocking(False)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        for _ in range(100_000):
            flooder.send(HYPERVISOR_xen_version, XENVER_version)
            sent += 1
    assert sent < 100_000
    assert other.call(HYPERVISOR_xen_version, XENVER_version)
    flooder.sock.settimeout(20)
    assert sum(flooder.receive()[0][0] == 0 for _ in range(sent)) == sent


def test_descriptors_in_flight_are_bounded(lab: Lab) -> None:
    """Answers with descriptors do not pile up unread: the kernel counts them for all of us."""
    flooder, other = lab.guest(), lab.guest()
    for _ in range(50):
        flooder.send(HYPERVISOR_grant_table_op, 2, DOMID_SELF)
    other.extent(1)
    # Once the first is read the next may come: nobody may send it before we have looked.
    os.kill(lab.process.pid, signal.SIGSTOP)
    try:
        first, fds = flooder.receive()
        assert first[0] == 0
        assert len(fds) == 1
        assert not readable(flooder.sock.fileno())
    finally:
        os.kill(lab.process.pid, signal.SIGCONT)
    assert all(len(flooder.receive()[1]) == 1 for _ in range(49))


def test_sent_descriptors_are_dropped(lab: Lab) -> None:

    guest = lab.guest()
    before = len(os.listdir(f"/proc/{lab.process.pid}/fd"))
    for _ in range(20):
        rights.send(guest.sock, [msgpack.packb([17, 0])], [0, 1, 2])
        guest.receive()
    assert len(os.listdir(f"/proc/{lab.process.pid}/fd")) == before


def test_only_dom0_builds(lab: Lab) -> None:
    stub, guest, third = lab.guest(), lab.guest(), lab.guest()
    lab.dom0.domctl(HVSIM_DOMCTL_set_target, stub.domid, guest.domid)
    stub.domctl(domctl.XEN_DOMCTL_pausedomain, guest.domid)
    stub.domctl(domctl.XEN_DOMCTL_unpausedomain, guest.domid)
    assert stub.domctl(domctl.XEN_DOMCTL_getdomaininfo, guest.domid)["domid"] == guest.domid
    stub.evtchn(EVTCHNOP_alloc_unbound, guest.domid, stub.domid)
    stub.domctl(domctl.XEN_DOMCTL_destroydomain, guest.domid, expect=EPERM)
    stub.domctl(domctl.XEN_DOMCTL_max_mem, guest.domid, 1, expect=EPERM)
    stub.domctl(domctl.XEN_DOMCTL_pausedomain, third.domid, expect=EPERM)


def test_building_refusals(lab: Lab) -> None:
    dom0 = lab.dom0
    dom0.domctl(domctl.XEN_DOMCTL_createdomain, {"handle": b"short"}, expect=EINVAL)
    dom0.domctl(domctl.XEN_DOMCTL_createdomain, {"max_vcpus": 0}, expect=EINVAL)
    dom0.domctl(domctl.XEN_DOMCTL_destroydomain, 0, expect=EINVAL)
    dom0.domctl(domctl.XEN_DOMCTL_destroydomain, 30000, expect=ESRCH)
    domid = lab.create(64)
    dom0.domctl(HVSIM_DOMCTL_populate, domid, 64, expect=EBUSY)
    dom0.domctl(HVSIM_DOMCTL_set_target, domid, domid, expect=EINVAL)
    huge = dom0.domctl(domctl.XEN_DOMCTL_createdomain, {"max_pages": 1 << 30})
    dom0.domctl(HVSIM_DOMCTL_populate, huge, 1 << 30, expect=ENOMEM)
    dom0.domctl(domctl.XEN_DOMCTL_unpausedomain, domid)
    lab.adopt()
    dom0.domctl(HVSIM_DOMCTL_load, domid, {}, expect=EBUSY)
    dom0.domctl(domctl.XEN_DOMCTL_unpausedomain, domid, expect=EINVAL)


def test_virq_has_one_binder(lab: Lab) -> None:
    port, fds = lab.dom0.evtchn_fds(EVTCHNOP_bind_virq, VIRQ_DOM_EXC, 0)
    assert len(fds) == 1
    lab.dom0.evtchn(EVTCHNOP_bind_virq, VIRQ_DOM_EXC, 0, expect=EEXIST)
    lab.dom0.evtchn(4, port, expect=EINVAL)
    lab.dom0.evtchn(3, port)


def test_start_info_and_runstate(lab: Lab) -> None:
    guest = lab.guest(48)
    info = guest.call(HYPERVISOR_hvsim_op, HVSIM_OP_start_info)
    assert (info["domid"], info["nr_pages"], info["max_vcpus"]) == (guest.domid, 48, 1)
    state = unpack_runstate(guest.call(HYPERVISOR_vcpu_op, VCPUOP_get_runstate_info, 0))
    assert sum(state.time) > 0


def test_dmesg(lab: Lab) -> None:
    guest = lab.guest()
    guest.call(HYPERVISOR_console_io, 0, b"hello\n(XEN) forged\x1b[2J\n")
    lab.dom0.call(HYPERVISOR_console_io, 0, b"a daemon's word\n")
    text = lab.dom0.call(HYPERVISOR_sysctl, domctl.XEN_SYSCTL_readconsole, False)
    assert all(line.startswith(("(XEN) ", "(d")) for line in text.splitlines())
    assert "(XEN) a daemon's word\n" in text
    assert f"(d{guest.domid}) hello\n(d{guest.domid}) (XEN) forged?[2J\n" in text


def test_memory_is_accounted(lab: Lab) -> None:
    guest = lab.guest(16)
    number, gfn, fd = guest.extent(10)
    guest.call(HYPERVISOR_memory_op, HVSIM_MEM_alloc_extent, 5, 0, expect=ENOMEM)
    (_, base, pages), _ = guest.call_fds(HYPERVISOR_memory_op, HVSIM_MEM_get_extent, 0)
    assert (base, pages) == (0, 4)
    guest.call(HYPERVISOR_memory_op, HVSIM_MEM_alloc_extent, 1, 0, expect=ENOMEM)
    guest.call(HYPERVISOR_memory_op, HVSIM_MEM_free_extent, number)
    guest.let_go(fd)
    assert guest.extent(10)[1] == gfn
    info = guest.call(HYPERVISOR_hvsim_op, HVSIM_OP_start_info)
    assert guest.call(HYPERVISOR_memory_op, XENMEM_current_reservation, DOMID_SELF) == 16
    assert info["nr_pages"] == 16


def test_dead_connection_kills_its_process(lab: Lab) -> None:
    guest = lab.guest()
    pidfd = os.pidfd_open(guest.pid)
    guest.sock.close()
    assert readable(pidfd, 20)
    os.close(pidfd)


def test_note_of_a_service(lab: Lab) -> None:
    """Red when ``note`` does not ask whether the caller is privileged."""
    guest = lab.guest()
    guest.call(HYPERVISOR_hvsim_op, HVSIM_OP_note, "store.quota", 0, "lies", expect=EPERM)
    for kind in ("destroyed", "Store.quota", "store.", "store.quota\n", "x" * 60):
        lab.dom0.call(HYPERVISOR_hvsim_op, HVSIM_OP_note, kind, 1, "text", expect=EINVAL)
    lab.dom0.call(HYPERVISOR_hvsim_op, HVSIM_OP_note, "store.quota", 1, "nodes\x1b[2J")
    records = lab.dom0.call(HYPERVISOR_sysctl, HVSIM_SYSCTL_ledger, 0, 1000)
    mine = [record for record in records if record["kind"] == "store.quota"]
    assert [(record["domid"], record["text"]) for record in mine] == [(1, "nodes\x1b[2J")]
    text = lab.dom0.call(HYPERVISOR_sysctl, domctl.XEN_SYSCTL_readconsole, False)
    assert "store.quota: nodes?[2J\n" in text
    assert "lies" not in text
