"""What getvcpuinfo and vcpu_runstate_info tell is what Linux has counted."""

from typing import Any

import pytest

from hvsim.abi import errno
from hvsim.abi.domctl import XEN_DOMCTL_getvcpuinfo
from hvsim.abi.hypercall import (
    HVSIM_OP_start_info,
    HYPERVISOR_domctl,
    HYPERVISOR_hvsim_op,
    HYPERVISOR_vcpu_op,
)
from hvsim.abi.vcpu import (
    RUNSTATE_blocked,
    RUNSTATE_offline,
    RunstateInfo,
    VCPUOP_get_runstate_info,
    unpack_runstate,
)
from tests.hypervisor.world import SECOND, World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(made.host, "cpu_time", lambda token: 10 * token)
    monkeypatch.setattr(made.host, "queued_time", lambda token: token)
    return made


def info(world: World, vcpu: int = 0) -> dict[str, Any]:
    answer = world.call(world.root, HYPERVISOR_domctl, XEN_DOMCTL_getvcpuinfo, 1, vcpu)
    assert answer[0] == 0
    found: dict[str, Any] = answer[1]
    return found


def runstate(world: World, vcpu: int = 0) -> RunstateInfo:
    answer = world.call(world.guest, HYPERVISOR_vcpu_op, VCPUOP_get_runstate_info, vcpu)
    return unpack_runstate(answer[1])


def test_the_times_are_the_kernel_s(world: World) -> None:
    """Seen red with the time on a run queue left out."""
    world.host.advance(SECOND)
    used, queued = 10 * world.guest, world.guest
    told = runstate(world)
    assert told.time == (used, queued, SECOND - used - queued, 0)
    assert told.state == RUNSTATE_blocked
    found = info(world)
    assert (found["cpu_time"], found["time"], found["cpu"]) == (used, list(told.time), 1)
    assert (found["online"], found["blocked"], found["running"]) == (True, True, False)


def test_what_runs_is_running(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.host, "running", lambda token: token == world.guest)
    assert (info(world)["running"], info(world)["blocked"]) == (True, False)


def test_a_vcpu_without_work_is_blocked_and_one_that_is_not_up_offline(world: World) -> None:
    """Seen red with one state for all but the first."""
    world.host.advance(SECOND)
    assert runstate(world, 1) == (RUNSTATE_blocked, world.host.now() - SECOND, (0, 0, SECOND, 0))
    world.domain.online_vcpus = 1
    found = info(world, 1)
    assert (found["online"], found["blocked"], found["running"]) == (False, False, False)


def test_until_when_it_is_blocked_is_what_it_says_itself(world: World) -> None:
    page = world.machine.processes[world.guest].page
    assert page is not None
    word = page.own.view().cast("Q")
    word[0] = 77 * SECOND
    assert info(world)["deadline"] == 77 * SECOND
    word[0] = 2**64 - 1
    assert info(world)["deadline"] is None


def test_a_paused_one_is_blocked_only_if_it_said_so(world: World) -> None:
    """As in Xen: what is neither blocked nor runnable is offline."""
    process = world.machine.processes[world.guest]
    assert process.page is not None
    world.machine.pauses.pause(world.domain, world.machine.processes[world.root])
    assert (info(world)["blocked"], runstate(world).state) == (False, RUNSTATE_offline)
    process.page.own.view().cast("Q")[0] = 77 * SECOND
    assert info(world)["blocked"]


def test_what_a_process_has_used_stays_its_domain_s(world: World) -> None:
    world.host.advance(SECOND)
    before = info(world)["cpu_time"]
    world.machine.ends.process_gone(world.guest, 9)
    world.host.advance(SECOND)
    found = info(world)
    assert found["cpu_time"] == before
    assert (found["blocked"], found["running"]) == (False, False)


def test_there_is_no_such_vcpu(world: World) -> None:
    asked = (world.root, HYPERVISOR_domctl, XEN_DOMCTL_getvcpuinfo, 1)
    assert world.call(*asked, 2) == [-errno.ESRCH]
    assert world.call(*asked, -1) == [-errno.ESRCH]
    other = world.call(world.guest, HYPERVISOR_domctl, XEN_DOMCTL_getvcpuinfo, 0, 0)
    assert other == [-errno.EPERM]


def test_each_process_has_a_seed(world: World) -> None:
    seeds = {
        world.call(token, HYPERVISOR_hvsim_op, HVSIM_OP_start_info)[1]["seed"]
        for token in (world.root, world.guest)
    }
    assert len(seeds) == 2
