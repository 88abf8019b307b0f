"""Who waits for whom, from every state that a pair can be in."""

from typing import Any

import pytest

from hvsim.observe.model import behind, gone, plight, waits
from hvsim.wire.picture import DomainRow, WaitRow
from tests.support.rows import device_row, domain_row

DEVICE = device_row("vbd", 51712, "xvda", 2, 1) | {"backend": "storage"}
DOMAIN = domain_row(1, "storage") | {"role": "driver", "pid": 10, "pids": {"main": 10}}


def rows(device: dict[str, Any], **backend: Any) -> list[DomainRow]:
    web: dict[str, Any] = {"domid": 2, "name": "web", "pid": 20, "devices": [DEVICE | device]}
    return [DOMAIN | backend, DOMAIN | web]  # type: ignore[list-item]


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


def edge(who: str, on: str) -> WaitRow:
    return {"domain": who, "device": "xvda", "on": on, "why": "paused", "unanswered": None}


def test_who_is_behind_whom() -> None:
    """Red without the second step, and without an end when they wait for each other."""
    edges = [edge("web", "db"), edge("db", "storage"), edge("mail", "db"), edge("a", "b")]
    assert behind(edges, "web") == ["db", "storage"]
    assert behind(edges, "storage") == []
    assert behind([*edges, edge("b", "a")], "a") == ["b", "a"]


def test_who_cannot_act() -> None:
    here = rows({}, state="--p---")
    assert plight(here, [0, 1, 2, 3]) == {1: "paused", 3: "gone"}
    assert plight(rows({}, stalled=True), [1]) == {1: "stalled (SIGSTOP)"}
