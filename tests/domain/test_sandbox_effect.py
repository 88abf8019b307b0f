"""The sandbox by its effect: what a real child can and cannot do."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hvsim.spawn import sandbox
from hvsim.spawn.sandbox import landlock
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
        ["/etc/passwd", "r"], ["/proc/self/maps", "r"], ["/proc/self/mem", "w"],
        ["/proc/self/fd/3", "r"], ["/etc/hostname", "r"],
        [str(ROOT / "hvsim" / "__init__.py"), "r"], [str(ROOT / "hvsim" / "__init__.py"), "w"],
        ["/etc", "r"], ["/home", "r"], ["/var", "r"],
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
        "/etc r",  # where the loader's cache is
    }
    refusals = {key: outcome for key, outcome in answer.items() if outcome != "ok"}
    written = {f"{shared} w", f"{shared} t", f"{program / 'mine.py'} w"}
    written.add(f"{ROOT / 'hvsim' / '__init__.py'} w")
    assert {refusals.pop(key) for key in written} <= {"EACCES", "EROFS"}
    assert set(refusals.values()) == {"ENOENT"}


@pytest.mark.parametrize(
    ("without", "missing"),
    [(["landlock", "root", "own-uid"], 3), (["root", "own-uid"], 2), (["landlock"], 1)],
)
def test_the_paths_open_only_without_all_walls(
    spawner: Harness, tmp_path: Path, without: list[str], missing: int
) -> None:
    """The negative control of the test above, and the report of what is missing: each of the two
    walls holds the path alone."""
    if "landlock" not in without and landlock.probe_abi() < 1:
        pytest.skip("this kernel has no Landlock")
    foreign = tmp_path / "foreign"
    foreign.write_text("data")
    answer, child = ask(spawner, "reach", args={"paths": [[str(foreign), "r"]]}, without=without)
    assert (answer[f"{foreign} r"] == "ok") is (missing == 3)
    assert [text for text in child.missing if "left out for a test" in text] == [
        f"{wall}: left out for a test" for wall in sandbox.WALLS if wall in without
    ]
    assert len(child.missing) == missing


#: With arguments for which the kernel itself has another answer than the filter, as the negative
#: control below sees.
CALLS = [
    ["ptrace", "ptrace", [0, 0, 0, 0]],
    ["getfd", "pidfd_getfd", [0, 0, 0]],
    ["unshare", "unshare", [0]],
    ["clone3", "clone3", [0, 0]],
    ["socket", "socket", [1, 1, 0]],
    ["mount", "mount", [0, 0, 0, 0, 0]],
    ["kill all", "kill", [-1, 0]],
    ["clear nonblock", "fcntl", [4, 4, 0]],
    ["keep nonblock", "fcntl", [4, 4, os.O_NONBLOCK]],
    ["fionbio", "ioctl", [4, 0x5421, 0]],
    ["outlive", "prctl", [1, 0, 0, 0, 0]],
    ["memfd", "memfd_create", [0, 0]],
    ["userfaultfd", "userfaultfd", [1]],
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
    """The negative control of the test above: each call has another answer, or works.

    Two of them a machine may have switched off for everybody (sysctl).
    """
    answer, child = ask(spawner, "calls", args={"calls": CALLS}, without=["seccomp"])
    assert "seccomp: left out for a test" in child.missing
    assert answer.pop("keep nonblock") == "ok"
    assert answer.pop("clone3") != "ENOSYS"
    refused = {label for label, outcome in answer.items() if outcome == "EPERM"}
    assert refused <= {"userfaultfd", "io_uring"}


def test_honest_programs_work_inside(spawner: Harness) -> None:
    guest, _ = ask(spawner, "everyday")
    assert guest == ["mmap", "epoll", "eventfd", "no thread"]
    driver, _ = ask(spawner, "everyday", profile="driver")
    assert driver == ["mmap", "epoll", "eventfd", "thread"]


def test_a_call_of_another_architecture_kills(spawner: Harness) -> None:
    """``int 0x80`` reaches the 32-bit table, where the numbers mean other calls."""
    if os.uname().machine != "x86_64":
        pytest.skip("only x86_64 has a second system call table behind an instruction")
    child = spawner.spawn("foreign_call")
    message, _ = spawner.receive()
    assert message[:2] == ["exited", child.pid]
    assert os.WIFSIGNALED(message[2])
