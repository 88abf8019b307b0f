"""How somebody outside waits for a lab in lockstep, at a hypervisor's door that is made up.

Seen red: with nanoseconds that are rounded; with a wait that does not look again after time has
gone on; with one that goes on beyond its end;
with a limit that nobody looks at; with a refusal that is told as the end of the time.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hvsim.abi.hypercall import HVSIM_SYSCTL_advance, HVSIM_SYSCTL_tape
from hvsim.lab import lockstep
from hvsim.lab.door import DoorError
from hvsim.lab.lockstep import SLICE, GateWaits

NEVER = -1


class Lab:
    """A lab in which something happens at some moments, of which one writes into a pipe."""

    def __init__(self) -> None:
        self.now = 1_000
        self.moments: list[int] = []
        self.writes = 0
        self.ours, self._theirs = os.pipe()
        self.visits = 0
        self.calls: list[tuple[int, bool]] = []
        self.tape = {3: 1, 5000: 2, 9000: 1}

    def __call__(self, _path: Path, _patience: float) -> Lab:
        self.visits += 1
        return self

    def close(self) -> None:
        """Of a visit."""

    def shut(self) -> None:
        os.close(self.ours)
        os.close(self._theirs)

    def call(self, _call: int, cmd: int, *args: Any, timeout: float) -> object:
        assert 0.0 < timeout <= lockstep.PATIENCE
        if cmd == HVSIM_SYSCTL_tape:
            [start] = args
            end = min(9100, start + 2048)
            return 9100, end, [[n, k] for n, k in self.tape.items() if start <= n < end]
        assert cmd == HVSIM_SYSCTL_advance
        by, quiet = args
        self.calls.append((by, quiet))
        assert len(self.calls) < 100, "it does not end"
        due = min(self.moments, default=NEVER)
        if not quiet:
            self.now += by
            while self.moments and min(self.moments) <= self.now:
                moment = min(self.moments)
                self.moments.remove(moment)
                if moment == self.writes:
                    os.write(self._theirs, b"x")
        return self.now, due, quiet


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    made = Lab()
    monkeypatch.setattr(lockstep, "Door", made)
    yield made
    made.shut()


def test_a_visit_is_kept_until_it_is_closed(lab: Lab) -> None:
    with GateWaits(Path("door")) as waits:
        assert waits.now() == waits.now() == 1e-6
        assert lab.visits == 1
    waits.now()
    assert lab.visits == 2


@pytest.mark.parametrize(("seconds", "by"), [(0.0, 0), (1e-12, 1), (2.5, 2_500_000_000)])
def test_a_pause_is_never_shorter(lab: Lab, seconds: float, by: int) -> None:
    GateWaits(Path("door")).pause(seconds)
    assert lab.calls == [(by, False)]


def test_what_is_there_is_had_without_time(lab: Lab) -> None:
    lab.moments, lab.writes = [1_001], 1_001
    GateWaits(Path("door")).pause(1e-9)
    lab.calls.clear()
    assert GateWaits(Path("door")).ready(lab.ours, False, 5.0)
    assert lab.calls == []


def test_it_goes_from_moment_to_moment_and_looks_after_each(lab: Lab) -> None:
    lab.moments, lab.writes = [2_000, 3_000, 90_000], 3_000
    assert GateWaits(Path("door")).ready(lab.ours, False, 5.0)
    assert lab.now == 3_000, "not further than what it waits for"
    assert (SLICE, True) in lab.calls


def test_its_end_is_one_of_them(lab: Lab) -> None:
    lab.moments = [50_000]
    assert not GateWaits(Path("door")).ready(lab.ours, False, 2e-6)
    assert lab.now == 3_000


def test_the_rest_of_a_nanosecond_is_time(lab: Lab) -> None:
    assert not GateWaits(Path("door")).ready(lab.ours, False, 1e-13)
    assert lab.now == 1_001


def test_without_an_end_it_waits_as_long_as_anything_happens(lab: Lab) -> None:
    lab.moments = [50_000, 60_000]
    assert not GateWaits(Path("door")).ready(lab.ours, False, None)
    assert lab.now == 60_000


def test_a_tape_is_asked_for_in_parts(lab: Lab) -> None:
    assert GateWaits(Path("door")).tape() == (9100, lab.tape)


def test_who_has_so_much_of_the_machines_time_waits_no_longer(lab: Lab) -> None:
    waits = GateWaits(Path("door"), 0.05)
    before = waits.now()
    time.sleep(0.06)
    told = "0.000 s of the lab's time went by in 0.05 s of the machine's"
    with pytest.raises(lockstep.OutOfTime, match=re.escape(told)) as raised:
        waits.pause(1e-9)
    assert raised.value.domid is None
    assert lab.now == before * 1e9


def test_a_refusal_is_told_as_what_it_is(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also to who has a limit, while somebody has the turn."""

    def refuse(*_args: object, **_more: object) -> object:
        raise DoorError("the hypervisor refuses: EBUSY", 16)

    monkeypatch.setattr(lab, "call", refuse)
    monkeypatch.setattr(GateWaits, "_running", lambda _: 1)
    with pytest.raises(DoorError, match="EBUSY"):
        GateWaits(Path("door"), 60.0).pause(1e-9)
