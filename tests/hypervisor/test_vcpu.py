"""The run states of a vCPU: no nanosecond is lost or counted twice, whoever schedules."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvsim.abi.vcpu import (
    RUNSTATE_blocked,
    RUNSTATE_offline,
    RUNSTATE_runnable,
    RUNSTATE_running,
)
from hvsim.hypervisor.vcpu import VCpu

STATES = st.sampled_from(range(4))
TIMES = st.integers(0, 10**12)
BORN = 1000


def age(vcpu: VCpu, now: int) -> int:
    return sum(vcpu.runstate(now).time)


@settings(max_examples=2000)
@given(st.lists(st.tuples(STATES, TIMES, st.none() | TIMES)))
def test_what_a_scheduler_does_adds_up(steps: list[tuple[int, int, int | None]]) -> None:
    """Seen red with an interval that is counted for the state that was entered."""
    vcpu, now, spent = VCpu(BORN), BORN, [0, 0, 0, 0]
    for state, later, deadline in steps:
        before = vcpu.runstate(now)
        try:
            vcpu.enter(state, now + later, deadline)
        except ValueError:
            assert vcpu.runstate(now) == before, "what is refused changes nothing"
            continue
        spent[before.state] += later
        now += later
        told = vcpu.runstate(now)
        assert (told.state, list(told.time)) == (state, spent)
        assert told.state_entry_time == (before.state_entry_time if state == before.state else now)
        assert vcpu.deadline == deadline
    assert age(vcpu, now + 5) == now + 5 - BORN


@settings(max_examples=2000)
@given(st.lists(st.tuples(STATES, TIMES, TIMES, TIMES)))
def test_what_linux_has_counted_adds_up(looks: list[tuple[int, int, int, int]]) -> None:
    """However much was counted (threads run at once), and though a figure goes back."""
    vcpu, now = VCpu(BORN), BORN
    for state, later, ran, queued in looks:
        before = vcpu.runstate(now)
        now += later
        vcpu.account(state, now, ran, queued)
        told = vcpu.runstate(now)
        assert sum(told.time) == now - BORN
        assert all(one >= other for one, other in zip(told.time, before.time, strict=True))
        assert told.time[RUNSTATE_running] <= max(ran, before.time[RUNSTATE_running])
        assert told.state == state


def test_time_on_a_cpu_and_on_its_queue_are_linux_s() -> None:
    vcpu = VCpu(0)
    vcpu.account(RUNSTATE_runnable, 100, 0, 0)  # until now it was offline
    vcpu.account(RUNSTATE_running, 1100, 300, 50)
    assert vcpu.runstate(1100).time == (300, 50, 650, 100)
    vcpu.account(RUNSTATE_blocked, 2100, 1000, 50, deadline=9000)
    assert vcpu.runstate(2100).time == (1000, 50, 950, 100)
    assert (vcpu.state, vcpu.entered, vcpu.deadline) == (RUNSTATE_blocked, 2100, 9000)
    assert vcpu.runstate(2200).time == (1000, 50, 1050, 100)


def test_what_does_not_fit_is_counted_when_there_is_room() -> None:
    """Seen red with what was over thrown away."""
    vcpu = VCpu(0)
    vcpu.account(RUNSTATE_running, 0, 0, 0)
    vcpu.account(RUNSTATE_running, 100, 180, 0)  # two threads
    assert vcpu.runstate(100).time == (100, 0, 0, 0)
    vcpu.account(RUNSTATE_blocked, 300, 180, 0)
    assert vcpu.runstate(300).time == (180, 0, 120, 0)


@pytest.mark.parametrize(
    ("way", "wrong"),
    [
        ((), RUNSTATE_running),
        ((), RUNSTATE_blocked),
        ((RUNSTATE_runnable, RUNSTATE_running, RUNSTATE_blocked), RUNSTATE_running),
        ((), 4),
        ((), -1),
    ],
)
def test_only_what_is_runnable_runs(way: tuple[int, ...], wrong: int) -> None:
    vcpu = VCpu(0)
    for state in way:
        vcpu.enter(state, 1)
    with pytest.raises(ValueError, match="does not go"):
        vcpu.enter(wrong, 2)


def test_a_deadline_is_of_what_is_blocked() -> None:
    vcpu = VCpu(0)
    vcpu.enter(RUNSTATE_runnable, 1)
    with pytest.raises(ValueError, match="deadline"):
        vcpu.enter(RUNSTATE_running, 2, 10)
    vcpu.enter(RUNSTATE_running, 2)
    vcpu.enter(RUNSTATE_blocked, 3, 10)
    assert [vcpu.is_due(now) for now in (9, 10, 11)] == [False, True, True]
    vcpu.enter(RUNSTATE_blocked, 4)
    assert not vcpu.is_due(10**18)
    with pytest.raises(ValueError, match="known"):
        vcpu.enter(RUNSTATE_offline, 3)
    with pytest.raises(ValueError, match="no run state"):
        vcpu.account(7, 9, 0, 0)
