"""Readiness is: every device Connected on both sides, and every guest calls itself healthy."""

from hvsim.lab.progress import Device, Progress
from hvsim.lab.states import state_name

FRONT = "/local/domain/2/device/vbd/51712"
BACK = "/local/domain/1/backend/vbd/2/51712"
HEALTH = "/local/domain/2/data/health"


def progress() -> Progress:
    made = Progress()
    made.add_guest("web", 2)
    made.add_device(Device("web", 2, "vbd", 51712, "xvda", "storage", FRONT, BACK))
    return made


def test_it_takes_both_halves_and_the_health() -> None:
    seen = progress()
    assert len(seen.missing()) == 2
    seen.update(f"{FRONT}/state", "4")
    assert len(seen.missing()) == 2
    seen.update(f"{BACK}/state", "4")
    assert seen.missing() == ["web: its own health check says nothing"]
    seen.update(HEALTH, "starting")
    assert seen.missing() == ["web: its own health check says starting"]
    seen.update(HEALTH, "ok")
    assert seen.missing() == []
    seen.update(f"{BACK}/state", "5")
    assert seen.missing() == ["web xvda <- storage: frontend Connected, backend Closing"]


def test_each_step_is_told_once() -> None:
    seen = progress()
    seen.update(f"{BACK}/state", None)
    for value in ("1", "1", "3"):
        seen.update(f"{FRONT}/state", value)
    seen.update("/local/domain/9/elsewhere", "4")
    assert seen.changes == [
        "web xvda <- storage: frontend Initialising, backend absent",
        "web xvda <- storage: frontend Initialised, backend absent",
    ]


def test_a_half_that_nobody_has_looked_at_is_not_said_to_be_absent() -> None:
    """Red when a step is told before both halves are known."""
    seen = progress()
    seen.update(f"{FRONT}/state", "4")
    assert seen.changes == []
    seen.update(f"{BACK}/state", "4")
    assert seen.changes == ["web xvda <- storage: frontend Connected, backend Connected"]


def test_an_error_node_and_an_end_are_told() -> None:
    seen = progress()
    seen.update(f"{BACK}/error", "2 getting info")
    seen.end(2, "crashed before it was ready")
    assert seen.changes == ["web xvda: 2 getting info", "web: crashed before it was ready"]
    assert seen.failed() == ["web crashed before it was ready"]


def test_states_have_names() -> None:
    assert state_name("6") == "Closed"
    assert state_name(None) == "absent"
    assert state_name("x") == "state 'x'"
    assert state_name("77") == "state '77'"


def test_what_will_not_connect() -> None:
    """Red with ``doom`` that is always empty."""
    seen = progress()
    assert seen.doomed() == []
    seen.update("/local/domain/1/error/backend/vbd/2/51712/error", "22 no such ring")
    assert seen.doomed() == ["web xvda: storage, the backend, says: 22 no such ring"]
    seen.update("/local/domain/2/error/device/vbd/51712/error", "2 reading it")
    seen.update(f"{BACK}/hotplug-error", "no such file")
    assert seen.doomed()[1:] == [
        "web xvda: web, the frontend, says: 2 reading it",
        "web xvda: the hotplug script of storage says: no such file",
    ]
    seen.update(f"{FRONT}/state", "4")
    seen.update(f"{BACK}/state", "4")
    assert seen.doomed() == []  # it has come up in spite of that


def test_a_half_that_closes() -> None:
    seen = progress()
    seen.update(f"{FRONT}/state", "3")
    seen.update(f"{BACK}/state", "5")
    where = "web xvda <- storage: frontend Initialised, backend Closing"
    assert seen.doomed() == [f"{where}: storage gave the device up, and said no reason"]
    seen.update(f"{BACK}/state", "1")  # it begins anew
    assert seen.doomed() == []


def test_every_place_of_an_error_is_watched() -> None:
    assert {
        "/local/domain/1/error/backend/vbd/2/51712/error",
        "/local/domain/2/error/device/vbd/51712/error",
        f"{BACK}/hotplug-error",
    } < set(progress().paths())
