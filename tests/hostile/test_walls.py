"""The walls around a domain process, tried by raw system calls; no hypervisor needed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hvsim.spawn.sandbox import WALLS, landlock
from tests.domain.spawner_harness import Harness, SpawnFailed
from tests.hostile.expected import (
    ALONE,
    PROCESSES,
    SUCCEED_WITHOUT,
    SUCCEED_WITHOUT_WALLS,
    breaches,
    table,
)
from tests.hostile.run_directory import bait
from tests.support.no_namespaces import refuse_namespaces


def attempt_everything(
    tmp_path: Path,
    without: tuple[str, ...] = (),
    before: Callable[[], None] | None = None,
    missing: tuple[str, ...] = (),
    lenient: bool = False,
) -> tuple[dict[str, str], bool]:
    """Outcomes of the rogue, and whether its sibling is unharmed.

    ``before`` runs in the spawner before it starts; ``missing`` is what must be reported then.
    """
    entry = "tests.hostile.walls_entry:run"
    walls: dict[str, Any] = {"walls": "what-there-is"} if lenient else {}
    with Harness(entry, before=before) as spawner, bait(tmp_path) as facts:
        sibling = spawner.spawn("sibling", without=without, **walls)
        assert {text.partition(":")[0] for text in sibling.missing} >= set(missing)
        facts |= {
            "address": sibling.receive(),
            "victim_pid": sibling.pid,
            "hypervisor_pid": os.getpid(),
            "weakened": bool(without),
        }
        outcomes = spawner.spawn("rogue", args=facts, without=without, **walls).receive()
        sibling.conn.send(b"?")
        return outcomes, sibling.receive()


def test_no_attempt_succeeds(tmp_path: Path) -> None:
    outcomes, unharmed = attempt_everything(tmp_path)
    print(table(outcomes, ALONE))
    assert breaches(outcomes, ALONE) == []
    assert unharmed


def test_without_landlock_nothing_is_open_but_shown_as_missing(tmp_path: Path) -> None:
    """An older kernel has none: the other walls hold all of it."""
    outcomes, unharmed = attempt_everything(tmp_path, ("landlock",))
    tried = {name: wanted for name, wanted in ALONE.items() if outcomes[name] != "not tried"}
    assert len(tried) > len(ALONE) - 6
    assert breaches(outcomes, tried) == []
    assert unharmed


@pytest.mark.parametrize("away", sorted(SUCCEED_WITHOUT))
def test_what_walls_hold_is_open_without_them(tmp_path: Path, away: tuple[str, ...]) -> None:
    """The negative control of each of them."""
    outcomes, _ = attempt_everything(tmp_path, away)
    succeeded = {name for name, outcome in outcomes.items() if outcome == "ok"}
    assert SUCCEED_WITHOUT[away] - succeeded == set()


@pytest.mark.parametrize("wall", ["namespaces", "root", "own-uid", "landlock", "seccomp"])
def test_without_one_wall_the_others_still_keep_memory_safe(tmp_path: Path, wall: str) -> None:
    outcomes, unharmed = attempt_everything(tmp_path, (wall,))
    memory = [name for name in PROCESSES if "sibling" in name and "kill" not in name]
    memory.remove("prlimit of a sibling")
    assert [name for name in memory if outcomes[name] == "ok"] == []
    assert unharmed


def test_on_a_machine_without_namespaces_the_other_walls_hold(tmp_path: Path) -> None:
    missing = ("user-ns", "pid-ns", "ipc-ns", "mount-ns", "net-ns", "root")
    if landlock.probe_abi() < 1:
        pytest.skip("this kernel has no Landlock: then paths are open to a domain")
    outcomes, unharmed = attempt_everything(tmp_path, (), refuse_namespaces, missing, True)
    assert breaches(outcomes, PROCESSES) == []
    assert unharmed


def test_a_domain_does_not_start_where_it_has_no_namespaces(tmp_path: Path) -> None:
    """One sentence, at once: which wall, why, and what can be done.  The spawner refuses, and so
    does the child (``Walls.lost``): red without both."""
    with pytest.raises(SpawnFailed) as failure:
        attempt_everything(tmp_path, (), refuse_namespaces)
    text = str(failure.value)
    assert "-ns" in text
    assert "Operation not permitted" in text
    assert 'walls = "what-there-is"' in text
    assert "\n" not in text


def test_without_walls_the_attempts_succeed(tmp_path: Path) -> None:
    """The negative control: the same table goes red where it must."""
    outcomes, _ = attempt_everything(tmp_path, WALLS)
    succeeded = {name for name, outcome in outcomes.items() if outcome == "ok"}
    assert SUCCEED_WITHOUT_WALLS - succeeded == set()
    red = "\n".join(breaches(outcomes, PROCESSES))
    assert all(name in red for name in SUCCEED_WITHOUT_WALLS if name in PROCESSES)
