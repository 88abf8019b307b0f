"""What Xen's tools ask for: watchdogs, affinity, debug keys, triggers, ports that are not open."""

from __future__ import annotations

from typing import Any

import pytest

from hvsim.abi import errno
from hvsim.abi.domctl import (
    XEN_DOMCTL_SENDTRIGGER_INIT,
    XEN_DOMCTL_SENDTRIGGER_NMI,
    XEN_DOMCTL_SENDTRIGGER_POWER,
    XEN_VCPUAFFINITY_HARD,
    XEN_VCPUAFFINITY_SOFT,
    XEN_DOMCTL_createdomain,
    XEN_DOMCTL_getdomaininfo,
    XEN_DOMCTL_getvcpuaffinity,
    XEN_DOMCTL_sendtrigger,
    XEN_DOMCTL_setvcpuaffinity,
    XEN_SYSCTL_debug_keys,
)
from hvsim.abi.event_channel import (
    VIRQ_ENOMEM,
    EVTCHNOP_close,
    EVTCHNOP_status,
    EVTCHNSTAT_closed,
    EVTCHNSTAT_unbound,
)
from hvsim.abi.hypercall import (
    DOMID_FIRST_RESERVED,
    DOMID_SELF,
    HYPERVISOR_domctl,
    HYPERVISOR_event_channel_op,
    HYPERVISOR_sched_op,
    HYPERVISOR_sysctl,
    HYPERVISOR_xen_version,
    XENVER_guest_handle,
)
from hvsim.abi.sched import NMI_SIGNAL, SCHEDOP_watchdog, SHUTDOWN_watchdog
from hvsim.hypervisor.affinity import Affinity, of_the_host
from hvsim.hypervisor.debug_keys import KEYS, MAX_LINES, MAX_WAITING, PIECE
from hvsim.hypervisor.ends import SIGKILL
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.low_memory import LowMemory
from hvsim.wire.spawn import Spawn
from tests.hypervisor.fakes import FakeBell
from tests.hypervisor.world import SECOND, World


@pytest.fixture
def world() -> World:
    return World()


# ---- ports that are not open ----


def port_status(world: World, number: int) -> list[Any]:
    op = HYPERVISOR_event_channel_op
    return world.call(world.guest, op, EVTCHNOP_status, DOMID_SELF, number)


def test_a_walk_through_all_ports_ends_where_the_table_does(world: World) -> None:
    """Closed below the end, -EINVAL past it: what lsevtchn walks by.

    Red with -EINVAL for every port that is not open: the walk ends at 0.
    """
    events = world.domain.events
    ports = [events.alloc_unbound(0, world.guest).number for _ in range(70)]
    world.call(world.guest, HYPERVISOR_event_channel_op, EVTCHNOP_close, 5)
    seen: dict[int, int] = {}
    number = 0
    while (answer := port_status(world, number))[0] == 0:
        seen[number] = answer[1]["status"]
        number += 1
    assert number == 128, "whole buckets of 64"
    assert answer == [-errno.EINVAL]
    opened = {port for port in ports if port != 5}
    assert {n for n, state in seen.items() if state == EVTCHNSTAT_unbound} == opened
    assert {n for n, state in seen.items() if state == EVTCHNSTAT_closed} == set(
        range(128)
    ) - opened
    assert port_status(world, -1) == [-errno.EINVAL]


# ---- watchdogs ----


def watchdog(world: World, number: int, timeout: int, token: int = 0) -> list[Any]:
    op = HYPERVISOR_sched_op
    return world.call(token or world.guest, op, SCHEDOP_watchdog, number, timeout)


def test_a_watchdog_that_is_not_set_anew_ends_its_domain(world: World) -> None:
    """Red when the deadline is not moved (it fires in the loop), and when nothing looks."""
    assert watchdog(world, 0, 3) == [0, 1]
    for _ in range(5):
        world.second(2)
        assert watchdog(world, 1, 3) == [0, 0]
    codes = [world.domain.shutdown_code]
    world.second(4)
    assert [*codes, world.domain.shutdown_code] == [None, SHUTDOWN_watchdog]
    assert (world.guest, SIGKILL) in world.host.signals
    assert f"(XEN) Watchdog timer fired for domain {world.domain.domid}" in world.dmesg()
    assert not world.host.timers, "nothing looks any more"


def test_a_domain_has_two(world: World) -> None:
    assert [watchdog(world, 0, 60) for _ in range(3)] == [[0, 1], [0, 2], [-errno.ENOSPC]]
    assert watchdog(world, 1, 0) == [0, 0]
    assert watchdog(world, 1, 60) == [-errno.EINVAL], "it was given back"
    assert watchdog(world, 0, 60) == [0, 1]


@pytest.mark.parametrize(("number", "timeout"), [(3, 1), (-1, 1), (1, 1), (0, -1), (0, 1 << 32)])
def test_watchdogs_that_are_none(world: World, number: int, timeout: int) -> None:
    assert watchdog(world, number, timeout) == [-errno.EINVAL]
    assert not world.host.timers


def test_a_domain_that_is_gone_has_no_watchdog(world: World) -> None:
    """Its number may be another's."""
    watchdog(world, 0, 1)
    world.machine.ends.destroy(world.domain, world.machine.processes[world.root])
    world.machine.ends.process_gone(world.guest, 9)
    world.second(3)
    assert world.domain.shutdown_code is None
    assert not [timer for timer in world.host.timers if timer[0] < world.host.time + SECOND]


def test_dom0s_own_watchdog_ends_the_machine(world: World) -> None:
    watchdog(world, 0, 1, world.root)
    world.second(2)
    assert world.host.halted is not None
    assert world.host.halted[1] == "Hardware Dom0 shutdown: watchdog rebooting machine"


# ---- affinity ----


def set_affinity(world: World, vcpu: int, flags: int, hard: Any, soft: Any) -> list[Any]:
    cmd = XEN_DOMCTL_setvcpuaffinity
    domid = world.domain.domid
    return world.call(world.root, HYPERVISOR_domctl, cmd, domid, vcpu, flags, hard, soft)


def test_hard_affinity_places_the_processes(world: World) -> None:
    """What is in effect is answered; what was set is kept.  Red without ``Lifecycle.place``."""
    both = XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT
    assert set_affinity(world, 0, both, [1, 2, 9], [0, 2]) == [0, [1, 2], [2]]
    assert world.host.placed == [(world.guest, [1, 2], 4)]
    cmd, domid = XEN_DOMCTL_getvcpuaffinity, world.domain.domid
    assert world.call(world.root, HYPERVISOR_domctl, cmd, domid, 0) == [0, [1, 2], [0, 2]]
    assert world.call(world.root, HYPERVISOR_domctl, cmd, domid, 1) == [
        0,
        [0, 1, 2, 3],
        [0, 1, 2, 3],
    ]


def test_a_process_that_comes_later_is_placed_too(world: World) -> None:
    set_affinity(world, 0, XEN_VCPUAFFINITY_HARD, [3], [])
    world.host.placed.clear()
    process = world.machine.births.spawn(world.domain, Spawn(process="more"), False)
    world.machine.births.process_spawned(process.token, 4242, [])
    assert world.host.placed == [(process.token, [3], 4)]


@pytest.mark.parametrize(
    ("vcpu", "flags", "hard", "soft"),
    [
        (0, XEN_VCPUAFFINITY_HARD, [], []),
        (0, XEN_VCPUAFFINITY_HARD, [4], []),
        (0, XEN_VCPUAFFINITY_SOFT, [1], [7]),
        (2, XEN_VCPUAFFINITY_HARD, [1], []),
        (-1, XEN_VCPUAFFINITY_HARD, [1], []),
        (0, 0, [1], [1]),
        (0, XEN_VCPUAFFINITY_HARD, ["1"], []),
        (0, XEN_VCPUAFFINITY_HARD, [-1], []),
        (0, XEN_VCPUAFFINITY_HARD, [1] * 2000, []),
        (0, XEN_VCPUAFFINITY_HARD, [1 << 40], []),
    ],
)
def test_affinities_that_are_none(
    world: World, vcpu: int, flags: int, hard: Any, soft: Any
) -> None:
    assert set_affinity(world, vcpu, flags, hard, soft) == [-errno.EINVAL]
    assert world.host.placed == []


def test_a_guest_places_nobody(world: World) -> None:
    cmd, domid = XEN_DOMCTL_setvcpuaffinity, world.domain.domid
    answer = world.call(world.guest, HYPERVISOR_domctl, cmd, domid, 0, 1, [1], [])
    assert answer == [-errno.EPERM]


def test_one_bad_mask_changes_neither() -> None:
    affinity = Affinity(1, 4)
    with pytest.raises(XenError):
        affinity.set(0, 0b0001, 1 << 9)
    assert affinity.everywhere


@pytest.mark.parametrize(
    ("cpus", "ours", "count", "wanted"),
    [
        ([0], [4, 5, 6, 7], 4, [4]),
        ([1], [4, 5, 6, 7], 2, [5, 7]),  # fewer in the lab: each stands for several
        ([5], [4, 5], 8, [5]),  # more in the lab: several stand for one
        ([0, 1, 2, 3], [4, 5], 4, [4, 5]),
    ],
)
def test_cpus_of_the_lab_are_cpus_of_the_host(
    cpus: list[int], ours: list[int], count: int, wanted: list[int]
) -> None:
    assert of_the_host(cpus, ours, count) == wanted


# ---- vCPUs, handles ----


def test_only_those_vcpus_are_online_that_the_config_brings_up(world: World) -> None:
    config = {"handle": bytes(16), "max_vcpus": 4, "online_vcpus": 2, "max_pages": 8, "flags": 0}
    _, domid = world.call(world.root, HYPERVISOR_domctl, XEN_DOMCTL_createdomain, config)
    _, info = world.call(world.root, HYPERVISOR_domctl, XEN_DOMCTL_getdomaininfo, domid)
    assert (info["nr_online_vcpus"], info["max_vcpus"]) == (2, 4)
    for online in (0, 5, "2"):
        bad = {**config, "online_vcpus": online}
        answer = world.call(world.root, HYPERVISOR_domctl, XEN_DOMCTL_createdomain, bad)
        assert answer == [-errno.EINVAL]


def test_a_new_domain_has_the_number_that_is_asked_for(world: World) -> None:
    config = {"handle": bytes(16), "max_vcpus": 1, "max_pages": 8, "flags": 0, "domid": 77}
    create = HYPERVISOR_domctl, XEN_DOMCTL_createdomain
    assert world.call(world.root, *create, config) == [0, 77]
    assert world.call(world.root, *create, config) == [-errno.EEXIST]
    for domid in (-1, DOMID_FIRST_RESERVED, "7"):
        assert world.call(world.root, *create, {**config, "domid": domid}) == [-errno.EINVAL]
    _, domid = world.call(world.root, *create, {**config, "domid": 0})
    assert 0 < domid < 77, "the next one"


def test_a_domain_knows_its_own_uuid(world: World) -> None:
    answer = world.call(world.guest, HYPERVISOR_xen_version, XENVER_guest_handle)
    assert answer == [0, bytes(range(16))]


# ---- triggers ----


@pytest.mark.parametrize(
    ("trigger", "vcpu", "answer"),
    [
        (XEN_DOMCTL_SENDTRIGGER_NMI, 0, 0),
        (XEN_DOMCTL_SENDTRIGGER_NMI, 2, -errno.ESRCH),
        (XEN_DOMCTL_SENDTRIGGER_POWER, 0, -errno.EINVAL),
        (XEN_DOMCTL_SENDTRIGGER_INIT, 0, -errno.ENOSYS),
        (99, 0, -errno.ENOSYS),
    ],
)
def test_triggers(world: World, trigger: int, vcpu: int, answer: int) -> None:
    cmd, domid = XEN_DOMCTL_sendtrigger, world.domain.domid
    assert world.call(world.root, HYPERVISOR_domctl, cmd, domid, trigger, vcpu) == [answer]
    assert world.host.signals == ([] if answer else [(world.guest, NMI_SIGNAL)])


def test_dom0_takes_no_nmi(world: World) -> None:
    """Its kernel is a process of ours without a console, and the signal would be ignored."""
    cmd = XEN_DOMCTL_sendtrigger
    assert world.call(world.root, HYPERVISOR_domctl, cmd, 0, 0, 0) == [-errno.ESRCH]


# ---- debug keys ----


def press(world: World, keys: str, token: int = 0) -> list[Any]:
    return world.call(token or world.root, HYPERVISOR_sysctl, XEN_SYSCTL_debug_keys, keys)


def test_a_dump_goes_in_pieces_and_is_answered_at_its_end(world: World) -> None:
    """Red when it is printed in one go (the first look finds all of it)."""
    for _ in range(100):
        world.domain.events.alloc_unbound(0, world.guest)
    assert press(world, "e") == []
    assert (world.dmesg(), world.host.replies) == ([], [])
    lines: list[str] = []
    rounds = 0
    while not world.host.replies:
        world.host.advance(60_000)
        piece = world.dmesg()
        assert len(piece) <= PIECE
        lines += piece
        rounds += 1
    assert rounds > 100 / PIECE
    assert world.host.replies == [((world.root, 0), [0])]
    assert lines[0] == "(XEN) 'e' pressed -> dumping event-channel info"
    guests = lines[lines.index("(XEN) Event channel information for domain 1:") :]
    ports = [line for line in guests if line.endswith("s=2 n=0 x=0 d=0")]
    assert len(ports) == 100
    assert ports[0].startswith("(XEN)        1 [0/0/  -   ]: s=2")


def test_a_domain_may_end_in_the_middle_of_a_dump(world: World) -> None:
    for _ in range(100):
        world.domain.events.alloc_unbound(0, world.guest)
    press(world, "egq")
    world.host.advance(60_000)
    world.machine.ends.destroy(world.domain, world.machine.processes[world.root])
    world.machine.ends.process_gone(world.guest, 9)
    for _ in range(50):
        world.machine.work.turn()
        world.host.advance(60_000)
    assert ((world.root, 0), [0]) in world.host.replies
    assert f"(XEN) General information for domain {world.domain.domid}:" not in world.dmesg()


def test_every_key_has_a_dump(world: World) -> None:
    press(world, "".join(KEYS))
    for _ in range(60):
        world.host.advance(60_000)
    assert world.host.replies == [((world.root, 0), [0])]
    text = world.dmesg()
    assert f"(XEN)     handle={'00010203-0405-0607-0809-0a0b0c0d0e0f'} vm_assist=00000000" in text
    assert "(XEN)   UNIT0 affinities: hard={0-3} soft={0-3}" in text
    assert "(XEN) Online Cpus: 0-3" in text
    listed = [line for line in text if line.startswith("(XEN)  key '")]
    assert len(listed) == len(KEYS)


@pytest.mark.parametrize(
    ("keys", "answer"),
    [("z", -errno.EOPNOTSUPP), ("ez", -errno.EOPNOTSUPP), ("", -errno.EINVAL), ("e" * 17, -22)],
)
def test_keys_without_a_dump(world: World, keys: str, answer: int) -> None:
    """Refused as a whole: nothing is printed."""
    assert press(world, keys) == [answer]
    assert not world.host.timers


def test_a_guest_presses_nothing(world: World) -> None:
    assert press(world, "e", world.guest) == [-errno.EPERM]


def test_dumps_wait_for_each_other_and_are_bounded(world: World) -> None:
    answers = [press(world, "m") for _ in range(MAX_WAITING + 1)]
    assert answers == MAX_WAITING * [[]] + [[-errno.EBUSY]]
    for _ in range(4 * MAX_WAITING):
        world.host.advance(60_000)
    assert world.host.replies == MAX_WAITING * [((world.root, 0), [0])]


def test_a_dump_has_an_end(world: World) -> None:
    """Red without the limit: a domain's owner could print for as long as it likes."""
    lines = iter(f"line {n}" for n in range(10 * MAX_LINES))
    done: list[bool] = []
    world.machine.dumps._waiting.append((lines, lambda: done.append(True)))
    world.machine.dumps._piece(0)
    for _ in range(MAX_LINES // PIECE + 2):
        world.host.advance(60_000)
    assert done == [True]
    assert world.dmesg()[-1] == f"(XEN) ... {MAX_LINES} lines is the limit"


# ---- low memory ----


def test_dom0_is_told_once_at_each_half_of_the_mark() -> None:
    low = LowMemory(1 << 20)
    mark = 1 << 14  # 64 MiB
    told = [free for free in range(2 * mark, 0, -64) if low.taken(free)]
    assert told[0] == mark
    assert told == [mark >> n for n in range(len(told))]


def test_it_is_told_again_after_there_was_twice_as_much() -> None:
    low = LowMemory(1 << 20)
    mark = 1 << 14
    assert [low.taken(free) for free in (mark, mark, 3 * mark // 2, mark)] == [True] + 3 * [False]
    assert [low.taken(free) for free in (4 * mark, mark)] == [False, True]


def test_a_small_machine_has_a_small_mark() -> None:
    low = LowMemory(1000)
    assert [low.taken(free) for free in (600, 257, 256)] == [False, False, True]


def test_a_domain_that_takes_the_last_memory_rings_enomem(world: World) -> None:
    """Red without ``memory_taken`` in ``populate``: xen-lowmemd would wait for ever."""
    dom0 = world.machine.domains[0]
    port = dom0.events.bind_virq(VIRQ_ENOMEM, 0, world.root)
    domain = world.machine.create_domain(bytes(16), 1, 1 << 16, 0)
    for _ in world.machine.populate(domain, (1 << 16) - 4096):
        pass
    assert isinstance(port.rx, FakeBell)
    assert port.rx.rings == 1
