"""Who waits for whom, in words, for every pair of states that a device can stand in."""

import pytest

from hvsim.observe.timeline_words import waiting

READY = {"physical-device": "fe:0", "hotplug-status": "connected"}


def row(front: int, back: int, kind: str = "vbd") -> dict[str, object]:
    return {
        "kind": kind,
        "frontend": {"state": front, "domid": 5},
        "backend": {"state": back, "domid": 3},
    }


@pytest.mark.parametrize(
    ("front", "back", "begins"),
    [
        (1, 1, "web waits for storage, whose driver has to find the disk: InitWait (2)"),
        (1, 2, "storage waits for web, whose driver has to publish ring-ref"),
        (3, 2, "web waits for storage, which has to map the ring"),
        (
            3,
            4,
            "storage serves the ring and waits for web, which has to read the disk's properties",
        ),
        (4, 4, "Nobody waits"),
        (4, 2, "web waits for storage"),
        (4, 0, "web waits for a new backend"),
        (4, 5, "storage closes; web has to let go"),
        (6, 4, "web has closed; storage has to close as well"),
        (6, 6, "Closed at both ends"),
        (0, 5, "The guest has lost the disk; storage still has its half (Closing (5))"),
        (0, 0, "The disk is no more"),
    ],
)
def test_one_sentence(front: int, back: int, begins: str) -> None:
    said = waiting(row(front, back), "web", "storage", READY, {})
    assert len(said) == 1
    assert said[0].startswith(begins)


def test_a_hotplug_script_that_never_finishes_is_named() -> None:
    said = waiting(row(3, 2), "web", "storage", {"online": "1"}, {})
    assert said[0].startswith("web waits for storage")
    assert "hotplug script for storage has not finished" in said[1]


def test_a_hotplug_script_that_failed_is_quoted() -> None:
    keys = {"hotplug-status": "error", "hotplug-error": "no such file"}
    assert waiting(row(3, 2), "web", "storage", keys, {})[1] == (
        "storage cannot: its hotplug script failed (no such file)."
    )


def test_an_error_of_the_backend_is_quoted() -> None:
    said = waiting(row(3, 5), "web", "storage", READY | {"error": "3 mapping in shared page 9"}, {})
    assert said[0] == "storage has reported an error: 3 mapping in shared page 9."


def test_a_domain_that_cannot_act_is_named_with_the_remedy() -> None:
    assert waiting(row(1, 2), "web", "storage", READY, {5: "paused"})[1] == (
        "web is paused, so it will not go on by itself (`hvsim xl unpause web`)."
    )
    assert (
        "`hvsim fault resume storage`"
        in waiting(row(3, 2), "web", "storage", READY, {3: "stalled (SIGSTOP)"})[1]
    )
    assert waiting(row(3, 2, "vif"), "web", "storage", READY, {3: "gone"})[1].startswith(
        "storage is gone"
    )
