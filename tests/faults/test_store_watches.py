"""Events of watches that are lost or late, by rules.

Seen red: with `Broken._deliver` that passes everything on, each test; with `_hold` that lets what
is behind pass, the one about the order; with `_give` that does not ask whether the watch is there
still, the one about a watch that went.
"""

from __future__ import annotations

import pytest

from tests.faults.storerig import BACK, FRONT, Rig


@pytest.fixture
def rig() -> Rig:
    """Each half watches the other."""
    made = Rig()
    made.web.ask("WATCH", f"{BACK}/state", "otherend")
    made.storage.ask("WATCH", f"{FRONT}/state", "otherend")
    made.web.take_events()
    made.storage.take_events()
    return made


EVENT = (f"{BACK}/state", "otherend")


def test_an_event_is_lost(rig: Rig) -> None:
    lift = rig.rule("watch=drop", f"path={BACK}", "domain=web", "nth=2")
    rig.back(2)
    assert rig.web.take_events() == [EVENT]
    rig.back(4)
    assert rig.web.take_events() == []
    rig.front(4)
    assert rig.storage.take_events() == [(f"{FRONT}/state", "otherend")]
    assert rig.told == [f"d5: event of {BACK}/state: lost"]
    rig.back(5)
    assert rig.web.take_events() == [EVENT]
    lift()


def test_only_of_the_domain_that_is_named(rig: Rig) -> None:
    rig.dom0.ask("WATCH", BACK, "toolstack")
    rig.dom0.take_events()
    rig.rule("watch=drop", "domain=web")
    rig.back(2)
    assert rig.web.take_events() == []
    assert rig.dom0.take_events() == [(f"{BACK}/state", "toolstack")]


def test_the_first_event_of_a_watch_comes(rig: Rig) -> None:
    rig.rule("watch=drop")
    assert rig.web.ask("WATCH", BACK, "new") == "OK"
    assert rig.web.take_events() == [(BACK, "new")]


def test_a_special_node(rig: Rig) -> None:
    rig.dom0.ask("WATCH", "@introduceDomain", "new")
    rig.dom0.take_events()
    rig.rule("watch=drop", f"path={BACK}", number=1)
    rig.guest(7)
    assert rig.dom0.take_events() == [("@introduceDomain", "new")]
    rig.rule("watch=drop", number=2)
    rig.guest(8)
    assert rig.dom0.take_events() == []


def test_a_late_event_keeps_those_behind_it_in_order(rig: Rig) -> None:
    rig.web.ask("WATCH", "data", "own")
    rig.web.take_events()
    rig.rule("watch=delay", "by=50ms", f"path={BACK}", "times=1")
    rig.back(2)
    rig.web.ask("WRITE", "data/a", "1")
    rig.front(3)
    assert rig.storage.take_events() == [(f"{FRONT}/state", "otherend")], "another client"
    rig.after(0.049)
    assert rig.web.take_events() == []
    rig.after(0.002)
    assert rig.web.take_events() == [EVENT, ("data/a", "own")]
    rig.back(4)
    assert rig.web.take_events() == [EVENT], "nothing is behind any more"


def test_what_is_late_comes_when_the_rule_goes(rig: Rig) -> None:
    lift = rig.rule("watch=delay", "by=1h", "domain=web")
    rig.back(2)
    rig.back(4)
    assert rig.web.take_events() == []
    lift()
    assert rig.web.take_events() == [EVENT, EVENT]
    rig.after(7200)
    assert rig.web.take_events() == []


def test_a_late_event_of_a_watch_that_went_does_not_come(rig: Rig) -> None:
    rig.rule("watch=delay", "by=50ms", "domain=web")
    rig.back(2)
    rig.web.ask("UNWATCH", f"{BACK}/state", "otherend")
    rig.after(0.1)
    assert rig.web.take_events() == []


def test_what_is_held_back_is_bounded(rig: Rig) -> None:
    rig.rule("watch=delay", "by=1h", "domain=web")
    for number in range(1100):
        rig.dom0.ask("WRITE", f"{BACK}/state", str(number % 2))
    assert rig.web.take_events() == [EVENT] * (1100 - 1024)
