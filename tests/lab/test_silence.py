"""Why nobody answers: what a client finds out, step by step, with nobody's help but the witnesses'.

The witnesses are made up here; that they tell the truth is tested with real labs
(tests/observe/test_incidents.py).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hvsim.lab import silence as module
from hvsim.lab.answers import FIRST_LOOK, ControlError, ControlTimeout, RequestLost
from hvsim.lab.inquiry import Inquiry
from hvsim.lab.rundir import RunDir
from hvsim.lab.silence import Silence
from hvsim.toolstack.host.trouble import Census, Trouble

STILL = Trouble("xenstored", "stalled", "xenstored (pid 7) stands still", True)
PAUSED = Trouble("web", "paused", "web (domain 3) is paused", False)


class Witnesses(Inquiry):
    """What there is to be known of a lab."""

    def __init__(self, folder: Path) -> None:
        super().__init__(RunDir(folder))
        self.culprit: Trouble | None = None
        self.listening = True

    def trouble(self, who: Callable[[Census], Trouble | None]) -> Trouble | None:
        return self.culprit

    def listens(self) -> bool:
        return self.listening


class Clock:
    """time.monotonic, as fast as one likes."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Listener:
    """A client that hears nothing, and what it does about it."""

    def __init__(
        self, folder: Path, clock: Clock, patience: float | None = 30.0, alive: bool = True
    ) -> None:
        self.clock = clock
        self.witnesses = Witnesses(folder)
        self.asked = 0
        self.told: list[str] = []
        self.alive = alive
        self.silence = Silence(
            "xl pause", self.witnesses, self.ask, lambda: self.alive, patience, self.told.append
        )
        self.status: dict[str, Any] | None = None

    def ask(self) -> None:
        self.asked += 1

    def wait(self, seconds: float) -> None:
        """Hear nothing for so long, but what the toolstack says of its status."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now += min(self.silence.step, end - self.clock.now)
            before = self.asked
            self.silence.look()
            if self.asked > before and self.status is not None:
                self.silence.told(self.status)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    return clock


@pytest.fixture
def listener(tmp_path: Path, clock: Clock) -> Listener:
    return Listener(tmp_path, clock)


def waits(trouble: Trouble | None = None, what: str = "the backend of vbd 5") -> dict[str, Any]:
    found = None
    if trouble is not None:
        found = {key: getattr(trouble, key) for key in ("who", "what", "text", "lasting")}
    wait = {"what": what, "seconds": 1.0, "limit": 10.0, "trouble": found}
    return {"yours": {"task": "xl pause", "seconds": 1.0, "waits": [wait]}, "others": []}


def test_nobody_is_asked_at_once(listener: Listener) -> None:
    """Most requests are answered in milliseconds."""
    listener.wait(FIRST_LOOK - 0.01)
    assert listener.asked == 0
    listener.wait(0.05)
    assert listener.asked == 1


def test_who_stands_still_is_believed_after_a_while(listener: Listener) -> None:
    """Red without GRACE: whoever is stalled for a moment costs others their commands."""
    listener.status = waits(STILL)
    listener.wait(FIRST_LOOK + module.GRACE - 0.1)
    listener.status = waits()
    listener.wait(5.0)
    listener.status = waits(STILL)
    with pytest.raises(ControlError, match=r"^xl pause: xenstored \(pid 7\) stands still$") as end:
        listener.wait(2 * module.GRACE)
    assert not isinstance(end.value, ControlTimeout)


def test_what_passes_by_itself_is_waited_for(listener: Listener) -> None:
    listener.status = waits(PAUSED)
    with pytest.raises(ControlTimeout) as late:
        listener.wait(31.0)
    assert str(late.value) == (
        "xl pause: no answer within 30 s; it waits for the backend of vbd 5 (web (domain 3) is "
        "paused)"
    )


def test_with_endless_patience_it_is_told_once(tmp_path: Path, clock: Clock) -> None:
    listener = Listener(tmp_path, clock, patience=None)
    listener.status = waits(STILL)
    listener.wait(60.0)
    assert listener.told == ["xenstored (pid 7) stands still\n"]


def test_a_toolstack_that_stands_still_itself(listener: Listener) -> None:
    listener.witnesses.culprit = Trouble("toolstack", "stalled", "toolstack stands still", True)
    with pytest.raises(ControlError, match=r"^xl pause: toolstack stands still$"):
        listener.wait(2.0)


def test_a_toolstack_that_is_being_started_is_waited_for(listener: Listener) -> None:
    text = "toolstack (pid 9) was killed by SIGKILL: it is being started again"
    listener.witnesses.culprit = Trouble("toolstack", "dead", text, False)
    listener.wait(5.0)
    listener.witnesses.culprit = None
    listener.status = waits()
    listener.wait(5.0)


@pytest.mark.parametrize(
    ("listening", "words"), [(True, "its loop is busy"), (False, "it does not listen")]
)
def test_a_toolstack_that_runs_and_does_not_answer(
    listener: Listener, listening: bool, words: str
) -> None:
    """No guess: its process is there and is not stopped, and nothing comes."""
    listener.witnesses.listening = listening
    with pytest.raises(ControlTimeout) as late:
        listener.wait(31.0)
    assert f"the toolstack to serve requests (it runs, and {words})" in str(late.value)


def test_a_request_that_nobody_knows_any_more(listener: Listener, tmp_path: Path) -> None:
    told = {"daemons": {"toolstack": {"last": "was killed by SIGKILL"}}}
    (tmp_path / "daemons").write_text(json.dumps(told))
    listener.status = {"yours": None, "others": []}
    with pytest.raises(RequestLost, match="the toolstack was killed by SIGKILL meanwhile"):
        listener.wait(1.0)


def test_a_lab_that_has_ended(listener: Listener, tmp_path: Path) -> None:
    (tmp_path / "ended").write_text("dom0's kernel (pid 3): killed by signal 9\n")
    listener.alive = False
    with pytest.raises(
        ControlError, match=r"xl pause: the lab has ended meanwhile: dom0's kernel \(pid 3\)"
    ):
        listener.wait(0.01)


def test_an_answer_begins_the_silence_anew(listener: Listener) -> None:
    listener.status = waits(STILL)
    for _ in range(20):
        listener.wait(module.GRACE)
        listener.silence.broken()
