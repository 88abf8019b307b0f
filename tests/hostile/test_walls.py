"""The walls around a domain process, tried by raw system calls; no hypervisor needed."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hvsim.domain.sandbox import WALLS, landlock, seccomp, syscalls
from hvsim.domain.sandbox.bpf import Arg, Deny, assemble
from tests.domain.spawner_harness import Harness
from tests.hostile.expected import PROCESSES, SUCCEED_WITHOUT_WALLS, breaches, table
from tests.hostile.run_directory import bait


def attempt_everything(
    tmp_path: Path,
    without: tuple[str, ...] = (),
    before: Callable[[], None] | None = None,
    missing: tuple[str, ...] = (),
) -> tuple[dict[str, str], bool]:
    """Outcomes of the rogue, and whether its sibling is unharmed.

    ``before`` runs in the spawner before it starts; ``missing`` is what must be reported then.
    """
    entry = "tests.hostile.walls_entry:run"
    with Harness(entry, before=before) as spawner, bait(tmp_path) as facts:
        sibling = spawner.spawn("sibling", without=without)
        assert {text.partition(":")[0] for text in sibling.missing} >= set(missing)
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


def refuse_namespaces() -> None:
    """Be a machine that gives nobody a namespace."""
    name, machine = "clone", syscalls.MACHINE
    rule = Deny(name, errno.EPERM, (Arg(0, "!=", 0, mask=0x7E02_0000),))
    code = assemble(
        [rule], syscalls.NUMBERS[machine], syscalls.AUDIT_ARCH[machine], 2**31 - 1, errno.ENOSYS
    )
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.load(code)


def test_on_a_machine_without_namespaces_the_other_walls_hold(tmp_path: Path) -> None:
    missing = ("user-ns", "pid-ns", "ipc-ns", "mount-ns", "net-ns")
    outcomes, unharmed = attempt_everything(tmp_path, (), refuse_namespaces, missing)
    assert breaches(outcomes, PROCESSES) == []
    assert unharmed


def test_without_walls_the_attempts_succeed(tmp_path: Path) -> None:
    """The negative control: the same table goes red where it must."""
    outcomes, _ = attempt_everything(tmp_path, WALLS)
    succeeded = {name for name, outcome in outcomes.items() if outcome == "ok"}
    assert SUCCEED_WITHOUT_WALLS - succeeded == set()
    red = "\n".join(breaches(outcomes, PROCESSES))
    assert all(name in red for name in SUCCEED_WITHOUT_WALLS)
