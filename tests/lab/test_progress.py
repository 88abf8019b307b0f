"""Readiness is: every device Connected on both sides, and every guest calls itself healthy."""

from hvsim.lab.progress import Device, Progress, state_name

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
    for value in ("1", "1", "3"):
        seen.update(f"{FRONT}/state", value)
    seen.update("/local/domain/9/elsewhere", "4")
    assert seen.changes == [
        "web xvda <- storage: frontend Initialising, backend absent",
        "web xvda <- storage: frontend Initialised, backend absent",
    ]


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
