"""Two looks at a ring in which something lies, and at who is to take it, on a host that is made up.

A driver domain that serves many is at work whenever one looks; that says nothing of the device that
it does not serve.  Red when the last glance alone counts: the first look of a doctor at a device
that had hung for hours said that nobody waits in vain.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, cast

import pytest

from hvsim.lab.door import Door
from hvsim.linux import proc
from hvsim.observe.diagnosis import looking
from hvsim.observe.diagnosis.host import BACK, FRONT
from hvsim.xs.waits import Waits
from tests.doctor.fabricated import device

PIDS = {(2, "main"): 102, (1, "main"): 101}


class Lab:
    """Its one ring, as it is read the first time and the second; and what the pauses sum up to."""

    def __init__(self, *readings: tuple[int, int, int, int]) -> None:
        self._readings = iter(readings)
        self.paused = 0.0

    def peek(self, *_args: int) -> bytes:
        return struct.pack("<4I", *next(self._readings))

    def pause(self, seconds: float) -> None:
        self.paused += seconds


def awake(monkeypatch: pytest.MonkeyPatch, lab: Lab, back: Iterator[str]) -> list[str]:
    """Who is at work, when web sleeps and storage is seen in those states, one after the other."""
    monkeypatch.setattr(proc, "state", lambda pid: next(back) if pid == 101 else "S")
    rings: Any = looking._rings(
        cast(Door, lab), [(device(2), 8, 32)], cast(Any, PIDS), cast(Waits, lab)
    )
    assert lab.paused == pytest.approx(looking.SECOND_LOOK)
    [ring] = rings
    assert not ring["moved"]
    found: list[str] = ring["awake"]
    return found


UNANSWERED = 5, 6, 3, 4
"""req_prod, req_event, rsp_prod, rsp_event: two requests are taken, and not answered."""
UNTAKEN = 5, 5, 4, 5
UNTAKEN_ANSWER = 4, 5, 4, 4


@pytest.mark.parametrize("ring", [UNANSWERED, UNTAKEN])
def test_who_sleeps_with_something_for_him_is_not_at_work(
    monkeypatch: pytest.MonkeyPatch, ring: tuple[int, int, int, int]
) -> None:
    assert awake(monkeypatch, Lab(ring, ring), iter("RRSRRRRRRR")) == []


def test_who_is_at_work_all_the_time_may_come_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert awake(monkeypatch, Lab(UNANSWERED, UNANSWERED), iter("RDRRRRRRRR")) == [BACK]


def test_who_had_nothing_to_do_may_have_slept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request came after the first look."""
    late = (UNTAKEN_ANSWER[0] + 1, *UNTAKEN_ANSWER[1:])
    assert awake(monkeypatch, Lab(UNTAKEN_ANSWER, late), iter("SR")) == [BACK]


def test_a_frontend_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    found = awake(monkeypatch, Lab(UNTAKEN_ANSWER, UNTAKEN_ANSWER), iter("RRRRRRRRRR"))
    assert FRONT not in found
