"""How a domain waits in lockstep: it looks, parks, and looks again.

Seen red: with a wait that parks though something has come; with looks that never end a turn; with
a park that is told no deadline.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import pytest

from hvsim.domain.vcpu import VCPU
from hvsim.domain.waiting import LOOKS, in_turns
from hvsim.domain.waits import VCPUWaits
from hvsim.wire import doorbell

NEVER = -1


class Rig:
    """A wait, of which is told what it did; what has come is set."""

    def __init__(self) -> None:
        self.come: list[int] = []
        self.parked: list[int] = []
        self.then: list[int] = []
        self.wait = in_turns(self._look, self._park)

    def _look(self, timeout: float, _until: int) -> Sequence[int]:
        assert timeout == 0.0, "the process would wait where nobody sees it"
        return list(self.come)

    def _park(self, until: int) -> None:
        self.parked.append(until)
        self.come = self.then


def test_what_has_come_is_had_without_waiting() -> None:
    rig = Rig()
    rig.come = [7]
    assert list(rig.wait(-1.0, NEVER)) == [7]
    assert rig.parked == []


def test_it_parks_until_its_deadline_and_looks_again() -> None:
    rig = Rig()
    rig.then = [8]
    assert list(rig.wait(0.5, 1_500)) == [8]
    assert rig.parked == [1_500]
    rig.come = rig.then = []
    assert list(rig.wait(-1.0, NEVER)) == []
    assert rig.parked == [1_500, NEVER]


def test_who_only_looks_does_not_wait_and_lets_others_go_on_now_and_then() -> None:
    rig = Rig()
    for _ in range(LOOKS - 1):
        assert list(rig.wait(0.0, 0)) == []
    assert rig.parked == []
    rig.wait(0.0, 0)
    assert rig.parked == [0], "due at once"
    for _ in range(LOOKS - 1):
        rig.wait(0.0, 0)
    assert rig.parked == [0]


def test_who_waits_or_finds_something_begins_to_count_anew() -> None:
    rig = Rig()
    for _ in range(3):
        for _ in range(LOOKS - 1):
            rig.wait(0.0, 0)
        rig.come = [7]
        rig.wait(0.0, 0)
        rig.come = []
    assert rig.parked == []


class Turns:
    """A vCPU that takes turns in this process: who parks is given one when *later* has been."""

    def __init__(self) -> None:
        self.now = 5.0
        self.vcpu = VCPU(clock=lambda: self.now)
        self.parked: list[int] = []
        self.later: Callable[[], object] = lambda: None
        self.vcpu.take_turns(self._park)

    def _park(self, until: int) -> None:
        self.parked.append(until)
        if until != NEVER:
            self.now = max(self.now, until / 1e9)
        self.later()


@pytest.fixture
def bell() -> int:
    return doorbell.make()


def test_a_timer_is_a_deadline() -> None:
    turns = Turns()
    rung: list[float] = []
    turns.vcpu.call_later(0.25, lambda: rung.append(turns.now))
    while not rung:
        turns.vcpu.block()
        turns.vcpu.dispatch()
    assert rung == [5.25]
    assert turns.parked
    assert set(turns.parked) == {5_250_000_000}
    turns.vcpu.close()


def test_a_doorbell_is_heard_when_the_turn_has_come(bell: int) -> None:
    turns = Turns()
    heard: list[int] = []
    turns.vcpu.open_port(3, bell, lambda: heard.append(3))
    turns.later = lambda: doorbell.ring(bell)
    assert turns.vcpu.block()
    turns.vcpu.dispatch()
    assert (heard, turns.parked) == ([3], [NEVER])
    turns.vcpu.close()
    os.close(bell)


def test_a_client_of_the_store_waits_in_the_vcpu() -> None:
    turns = Turns()
    waits = VCPUWaits(turns.vcpu)
    ours, theirs = os.pipe()
    assert waits.now() == 5.0
    waits.pause(1.5)
    assert waits.now() == 6.5
    assert not waits.ready(ours, False, 0.5)
    assert waits.now() == 7.0
    turns.later = lambda: os.write(theirs, b"x")
    assert waits.ready(ours, False, None)
    assert turns.parked[-1] == NEVER
    assert waits.ready(theirs, True, None), "room at once"
    turns.vcpu.close()
    for fd in (ours, theirs):
        os.close(fd)
