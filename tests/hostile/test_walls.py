"""The walls around a domain process, tried by raw system calls; no hypervisor needed."""

import os
from pathlib import Path

import pytest

from hvsim.domain.sandbox import WALLS, landlock
from tests.domain.spawner_harness import Harness
from tests.hostile.expected import PROCESSES, SUCCEED_WITHOUT_WALLS, breaches, table
from tests.hostile.run_directory import bait


def attempt_everything(
    tmp_path: Path, without: tuple[str, ...] = ()
) -> tuple[dict[str, str], bool]:
    """Outcomes of the rogue, and whether its sibling is unharmed."""
    with Harness("tests.hostile.walls_entry:run") as spawner, bait(tmp_path) as facts:
        sibling = spawner.spawn("sibling", without=without)
        facts |= {
            "address": sibling.receive(),
            "victim_pid": sibling.pid,
            "hypervisor_pid": os.getpid(),
            "weakened": bool(without),
        }
        outcomes = spawner.spawn("rogue", args=facts, without=without).receive()
        sibling.conn.send(b"?")
        return outcomes, sibling.receive()


def test_no_attempt_succeeds(tmp_path: Path) -> None:
    if landlock.probe_abi() < 1:
        pytest.skip("this kernel has no Landlock: paths are open to a domain (see `hvsim ps`)")
    outcomes, unharmed = attempt_everything(tmp_path)
    print(table(outcomes, PROCESSES))
    assert breaches(outcomes, PROCESSES) == []
    assert unharmed


@pytest.mark.parametrize("wall", ["namespaces", "landlock", "seccomp"])
def test_without_one_wall_the_others_still_keep_memory_safe(tmp_path: Path, wall: str) -> None:
    outcomes, unharmed = attempt_everything(tmp_path, (wall,))
    memory = [name for name in PROCESSES if "sibling" in name and "kill" not in name]
    memory.remove("prlimit of a sibling")
    assert [name for name in memory if outcomes[name] == "ok"] == []
    assert unharmed


def test_without_walls_the_attempts_succeed(tmp_path: Path) -> None:
    """The negative control: the same table goes red where it must."""
    outcomes, _ = attempt_everything(tmp_path, WALLS)
    succeeded = {name for name, outcome in outcomes.items() if outcome == "ok"}
    assert SUCCEED_WITHOUT_WALLS - succeeded == set()
    red = "\n".join(breaches(outcomes, PROCESSES))
    assert all(name in red for name in SUCCEED_WITHOUT_WALLS)
