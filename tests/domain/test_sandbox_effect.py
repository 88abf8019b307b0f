"""The sandbox by its effect: what a real child can and cannot do."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hvsim.domain.sandbox import landlock
from tests.domain.spawner_harness import ROOT, Harness, Spawned


@pytest.fixture(scope="module")
def spawner() -> Iterator[Harness]:
    with Harness() as harness:
        yield harness


def ask(harness: Harness, program: str, **more: Any) -> tuple[Any, Spawned]:
    child = harness.spawn(program, **more)
    answer = child.receive()
    assert harness.receive()[0][0] == "exited"
    return answer, child


needs_landlock = pytest.mark.skipif(
    landlock.probe_abi() < 3, reason="this kernel has no Landlock, or one before ABI 3"
)


@needs_landlock
def test_only_named_paths_open(spawner: Harness, tmp_path: Path) -> None:
    own, shared, foreign = tmp_path / "own", tmp_path / "shared", tmp_path / "foreign"
    for path in (own, shared, foreign):
        path.write_text("data")
    program = tmp_path / "programs"
    program.mkdir()
    (program / "mine.py").write_text("")
    paths = [
        [str(own), "r"], [str(own), "w"], [str(own), "t"],
        [str(shared), "r"], [str(shared), "w"], [str(shared), "t"],
        [str(foreign), "r"], [str(foreign), "w"],
        [str(program / "mine.py"), "r"], [str(program / "mine.py"), "w"],
        [str(tmp_path), "r"],
        ["/etc/passwd", "r"], ["/proc/self/maps", "r"], ["/proc/self/mem", "w"],
        ["/proc/self/fd/3", "r"], ["/etc/hostname", "r"],
        [str(ROOT / "hvsim" / "__init__.py"), "r"], [str(ROOT / "hvsim" / "__init__.py"), "w"],
        [str(ROOT), "r"],
    ]  # fmt: skip
    answer, _ = ask(
        spawner,
        "reach",
        files=[[str(own), "rw"], [str(shared), "r"]],
        path=[str(program)],
        args={"paths": paths},
    )
    allowed = {key for key, outcome in answer.items() if outcome == "ok"}
    assert allowed == {
        f"{own} r",
        f"{own} w",
        f"{own} t",
        f"{shared} r",
        f"{program / 'mine.py'} r",
        f"{ROOT / 'hvsim' / '__init__.py'} r",
    }
    # /proc is empty in there, or refused where it cannot be hidden; ENXIO is a socket's own.
    refusals = {key: outcome for key, outcome in answer.items() if outcome != "ok"}
    assert {o for key, o in refusals.items() if not key.startswith("/proc")} == {"EACCES"}
    assert set(refusals.values()) <= {"EACCES", "ENOENT", "ENXIO"}


@needs_landlock
def test_without_landlock_the_paths_do_open(spawner: Harness, tmp_path: Path) -> None:
    """The negative control of the test above, and the report of what is missing."""
    foreign = tmp_path / "foreign"
    foreign.write_text("data")
    answer, child = ask(
        spawner, "reach", args={"paths": [[str(foreign), "r"]]}, without=["landlock"]
    )
    assert answer == {f"{foreign} r": "ok"}
    assert "landlock: left out for a test" in child.missing


CALLS = [
    ["ptrace", "ptrace", [0, 0, 0, 0]],
    ["getfd", "pidfd_getfd", [0, 0, 0]],
    ["unshare", "unshare", [0x10000000]],
    ["clone3", "clone3", [0, 0]],
    ["socket", "socket", [1, 1, 0]],
    ["mount", "mount", [0, 0, 0, 0, 0]],
    ["kill all", "kill", [-1, 0]],
    ["clear nonblock", "fcntl", [4, 4, 0]],
    ["keep nonblock", "fcntl", [4, 4, os.O_NONBLOCK]],
    ["fionbio", "ioctl", [4, 0x5421, 0]],
    ["outlive", "prctl", [1, 0, 0, 0, 0]],
    ["memfd", "memfd_create", [0, 0]],
    ["userfaultfd", "userfaultfd", [0]],
    ["io_uring", "io_uring_setup", [1, 0]],
]


@pytest.mark.parametrize("profile", ["guest", "driver"])
def test_the_kernel_agrees_with_the_filter(spawner: Harness, profile: str) -> None:
    answer, child = ask(spawner, "calls", profile=profile, args={"calls": CALLS})
    assert not [entry for entry in child.missing if entry.startswith("seccomp")]
    expected = dict.fromkeys(answer, "EPERM")
    expected |= {"clone3": "ENOSYS", "keep nonblock": "ok"}
    assert answer == expected


def test_without_seccomp_the_calls_do_work(spawner: Harness) -> None:
    """The negative control of the test above."""
    harmless = {"socket", "clear nonblock", "outlive", "kill all"}
    calls = [call for call in CALLS if call[0] in harmless]
    answer, child = ask(spawner, "calls", args={"calls": calls}, without=["seccomp"])
    assert answer["socket"] == answer["clear nonblock"] == answer["outlive"] == "ok"
    assert "seccomp: left out for a test" in child.missing


def test_honest_programs_work_inside(spawner: Harness) -> None:
    guest, _ = ask(spawner, "everyday")
    assert guest == ["mmap", "epoll", "eventfd", "socketpair", "no thread"]
    driver, _ = ask(spawner, "everyday", profile="driver")
    assert driver == ["mmap", "epoll", "eventfd", "socketpair", "thread"]


def test_a_call_of_another_architecture_kills(spawner: Harness) -> None:
    """``int 0x80`` reaches the 32-bit table, where the numbers mean other calls."""
    if os.uname().machine != "x86_64":
        pytest.skip("only x86_64 has a second system call table behind an instruction")
    child = spawner.spawn("foreign_call")
    message, _ = spawner.receive()
    assert message[:2] == ["exited", child.pid]
    assert os.WIFSIGNALED(message[2])
