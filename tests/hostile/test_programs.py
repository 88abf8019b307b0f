"""Programs of the machine behind the walls: who they are, what they see, and whom they outlive."""

import contextlib
import json
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hvsim.lab.processes import descendants
from hvsim.spawn.sandbox import identity
from tests.domain.spawner_harness import Harness, Spawned

ENTRY = "tests.hostile.program_entry:run"
REFUSED = {"EACCES", "EPERM", "ENOENT", "EROFS"}
#: Neither to be read nor to be written, in a lab of root's and of anybody's.
CLOSED = (
    "/etc/shadow", "/etc/sudoers", "/etc/ssh", "/var/log", "write /proc/sys", "write /proc/sys/net",
    "write /usr", "write /etc", "write /etc/passwd", "sysrq", "remount", "set-user-id file",
    "set-user-id by chmod",
)  # fmt: skip
TOUCHED = ("traced", "robbed", "read", "listed", "stopped")
UNTOUCHED: dict[str, list[int]] = {name: [] for name in TOUCHED}


@pytest.fixture(scope="module")
def spawner() -> Iterator[Harness]:
    with Harness(ENTRY, warm=("msgpack", "tests.hostile.program_entry")) as harness:
        yield harness


def escape(harness: Harness, **more: Any) -> tuple[dict[str, Any], Spawned]:
    """What a hostile program finds, and its kernel."""
    words = {"words": ["attempts", *more.pop("words", ())]}
    child = harness.spawn("program", args=words, executables=True, **more)
    _, said = child.receive()
    assert said.startswith("{"), said
    return json.loads(said), child


def end(harness: Harness, *children: Spawned) -> None:
    for child in children:
        child.conn.close()
    for _ in children:
        assert harness.receive()[0][0] == "exited"


def test_a_program_is_nobody_and_finds_no_secret(spawner: Harness) -> None:
    """Red without the root directory (below)."""
    found, child = escape(spawner)
    assert child.missing == []
    assert {found[name] for name in CLOSED} <= REFUSED, found
    assert ".profile" not in found["/root"]  # its own, where at most the interpreter is
    assert ".bashrc" not in found["/root"]
    inside, outside, count = map(int, found["id map"])
    assert (inside, count) == (0, 1)
    assert outside == (identity.own_id(child.pid) if os.geteuid() == 0 else os.geteuid())
    end(spawner, child)


@pytest.mark.parametrize(
    ("without", "open_then"),
    [
        (["root", "own-uid", "landlock"], {"/var/log"}),
        (["seccomp"], {"set-user-id file", "set-user-id by chmod"}),
    ],
)
def test_without_the_wall_it_does(
    spawner: Harness, without: list[str], open_then: set[str]
) -> None:
    """The negative control: each of these is held by that wall."""
    if os.geteuid() == 0 and "own-uid" in without:
        open_then = {*open_then, "/etc/shadow"}
    found, child = escape(spawner, without=without)
    assert {name for name in open_then if str(found[name]) in REFUSED} == set(), found
    end(spawner, child)


def test_without_an_id_of_its_own_it_is_root(spawner: Harness) -> None:
    """The negative control of the id."""
    if os.geteuid():
        pytest.skip("an ordinary user has no other id to give")
    found, child = escape(spawner, without=["own-uid"])
    assert found["id map"] == ["0", "0", "1"]
    end(spawner, child)


def test_two_domains_of_root_are_strangers(spawner: Harness) -> None:
    """Not even the same user: no file, no limit of the kernel is theirs together."""
    if os.geteuid():
        pytest.skip("an ordinary user's domains have his id; their root directory is the wall")
    first, one = escape(spawner)
    second, other = escape(spawner)
    assert first["id map"] != second["id map"]
    for child in (one, other):
        status = Path(f"/proc/{child.pid}/status").read_text()
        assert f"Uid:\t{identity.own_id(child.pid)}\t" in status
    end(spawner, one, other)


def test_a_program_cannot_touch_its_kernel_or_another_s(spawner: Harness) -> None:
    """Neither that of the domain's own program, nor those of two programs that were started in it
    later, nor the keeper of their namespace.  Red without the wall (below)."""
    _, kernel = escape(spawner)
    found, further = escape(spawner, join=kernel.pid)
    again, last = escape(spawner, join=kernel.pid)
    for one in (found, again):
        assert one["first"] == "init"
        assert one["parent"] == 0  # its kernel is nobody that it can name
        assert {name: one[name] for name in TOUCHED} == UNTOUCHED, one
        # The keeper and the programs of before, which have ended or wait to be read.
        assert 1 in one["others"]
    assert Path(f"/proc/{kernel.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T"
    end(spawner, last, further)
    end(spawner, kernel)


def test_programs_in_a_domain_without_programs_do_not_see_it(spawner: Harness) -> None:
    """``hvsim exec`` into a guest whose program is a Python function."""
    guest = spawner.spawn("program", args={"words": ["idle"]})
    found, further = escape(spawner, join=guest.pid)
    assert (found["first"], found["parent"], found["others"]) == ("init", 0, [1])
    assert {name: found[name] for name in TOUCHED} == UNTOUCHED
    end(spawner, further, guest)


def test_without_a_namespace_of_their_own_they_do(spawner: Harness) -> None:
    """The negative control: a kernel that can be seen is listed, robbed and stopped."""
    away = ["programs", "capabilities", "landlock"]
    _, kernel = escape(spawner, without=away, words=["gently"])
    found, further = escape(spawner, join=kernel.pid, without=away, words=["gently"])
    assert found["parent"] != 0
    assert found["traced"], found
    assert found["robbed"], found
    end(spawner, further, kernel)


def lingering(harness: Harness, **more: Any) -> tuple[dict[int, int], Spawned]:
    """Processes (pid -> pidfd) that a program has left in every way, and its kernel."""
    child = harness.spawn("program", args={"words": ["linger"]}, executables=True, **more)
    _, said = child.receive()
    found = {*descendants(harness.process.pid)}
    if "without" in more:  # there is no namespace: these are their numbers
        found |= {*json.loads(said)}
    return {pid: os.pidfd_open(pid) for pid in found}, child


def test_nothing_outlives_the_spawner() -> None:
    """SIGKILL, as the hypervisor's death is to it.  Red without namespaces (below)."""
    with Harness(ENTRY, warm=("msgpack", "tests.hostile.program_entry")) as harness:
        left, _ = lingering(harness)
        # The warden, two kernels with a program each, their keepers, and what those left.
        assert len(left) >= 8
        harness.kill_spawner()
        for pid, pidfd in left.items():
            assert select.select([pidfd], [], [], 10.0)[0], f"process {pid} is still there"
            os.close(pidfd)


def test_without_namespaces_some_do() -> None:
    """The negative control."""
    with Harness(ENTRY, warm=("msgpack", "tests.hostile.program_entry")) as harness:
        left, child = lingering(harness, without=["namespaces"])
        programs = {pid: pidfd for pid, pidfd in left.items() if pid != child.pid}
        harness.kill_spawner()
        try:
            assert select.select([child.pidfd], [], [], 10.0)[0]
            alive = [fd for fd in programs.values() if not select.select([fd], [], [], 0.2)[0]]
        finally:
            for pidfd in programs.values():
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                os.close(pidfd)
            os.close(left[child.pid])
        assert alive
