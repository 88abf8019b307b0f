"""Who waits for whom, from every state that a pair can be in."""

from typing import Any

import pytest

from hvsim.observe.waits import gone, waits


def rows(device: dict[str, Any], **backend: Any) -> list[dict[str, Any]]:
    pair = {"vdev": "xvda", "backend_domid": 1, "frontend_state": 4, "backend_state": 4}
    return [
        {"domid": 1, "name": "storage", "pid": 10, "state": "-b----", "devices": [], **backend},
        {"domid": 2, "name": "web", "pid": 20, "state": "-b----", "devices": [pair | device]},
    ]


@pytest.mark.parametrize(
    ("device", "backend", "letter", "why"),
    [
        ({"unanswered": 3}, {}, "T", "stalled (SIGSTOP)"),
        ({}, {"state": "--p---"}, "S", "paused"),
        (
            {"frontend_state": 3, "backend_state": 2},
            {},
            "S",
            "frontend Initialised, backend InitWait",
        ),
        ({"backend_state": None}, {}, "S", "frontend Connected, backend absent"),
        ({"waits_for": "storage", "waiting_seconds": 2.5}, {}, "S", "no answer for 2.5 s"),
        ({"waits_for": "storage", "waiting_seconds": 0.0}, {}, "S", "no answer yet"),
    ],
)
def test_why(device: dict[str, Any], backend: dict[str, Any], letter: str, why: str) -> None:
    [found] = waits(rows(device, **backend), {10: letter, 20: "S"})
    assert (found["domain"], found["device"], found["on"], found["why"]) == (
        "web",
        "xvda",
        "storage",
        why,
    )
    assert found["unanswered"] == device.get("unanswered")


def test_a_backend_that_is_gone() -> None:
    [found] = waits(rows({})[1:], {})
    assert (found["on"], found["why"]) == ("domain 1", "the backend domain is gone")
    assert gone(rows({})[1:], {}) == [
        {"who": "domain 1", "what": "gone", "text": "domain 1 is gone"}
    ]


def test_a_backend_that_is_gone_is_named_as_it_was_called() -> None:
    """By whoever has seen it go.  Red when what is known of the departed is not asked."""
    known = {1: {"domid": 1, "name": "storage", "text": "storage (domain 1) has crashed: why"}}
    [found] = waits(rows({})[1:], {}, departed=known)
    assert (found["on"], found["why"]) == ("storage", "the backend domain is gone")
    assert gone(rows({})[1:], known) == [
        {"who": "storage", "what": "gone", "text": "storage (domain 1) has crashed: why"}
    ]
    assert gone(rows({}), known) == []


def test_one_that_is_just_being_destroyed_is_named_too() -> None:
    """Its name has left the store, itself it has not.  Red when a row without a name is enough."""
    known = {1: {"domid": 1, "name": "storage", "text": "storage (domain 1) is gone"}}
    [found] = waits(rows({}, state="--psc-", name=None), {}, departed=known)
    assert (found["on"], found["why"]) == ("storage", "crashed")
    assert gone(rows({}, state="--psc-", name=None), known) == []


def test_nobody_waits() -> None:
    assert waits(rows({}), {10: "S", 20: "R"}) == []
