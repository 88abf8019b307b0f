"""The search for leftovers finds each kind of thing, and nothing of others."""

import os
import pty
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hvsim.lab import leftovers
from hvsim.lab.claim import claim, release
from hvsim.lab.leftovers import OUR_LINKS, Witness
from hvsim.lab.processes import Identity
from hvsim.lab.rundir import RunDir


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    monkeypatch.setenv("HVSIM_RUN_DIR", str(tmp_path))
    return claim("x", "f")


def test_nothing_is_left(run: RunDir) -> None:
    witness = Witness(run)
    release(run)
    assert witness.leftovers() == []


def test_the_run_directory_and_a_socket_in_it(run: RunDir) -> None:
    witness = Witness(run)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(run.path / "s"))
        assert witness.leftovers() == [f"run directory {run.path}", f"socket {run.path}/s"]


def test_an_abstract_name_counts_when_its_process_was_ours(run: RunDir) -> None:
    witness = Witness(run)
    release(run)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"\0hvsim-x/XL/{os.getpid()}.1")
        assert witness.leftovers() == []  # a lab of the same name elsewhere
        mine = Identity.of(os.getpid())
        assert mine is not None
        witness.seen.add(mine)
        assert witness.leftovers() == [
            f"process {os.getpid()}",
            f"socket @hvsim-x/XL/{os.getpid()}.1",
        ]


def test_a_process_until_it_ends(run: RunDir) -> None:
    witness = Witness(run)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        child = Identity.of(process.pid)
        assert child is not None
        witness.seen.add(child)
        release(run)
        assert witness.leftovers() == [f"process {process.pid}"]
        process.communicate(b"\n")
    assert witness.leftovers() == []


def test_a_network_namespace_until_nobody_is_in_it(run: RunDir) -> None:
    """Red without the look at every process of the machine."""
    program = (
        "import ctypes, os, sys\n"
        "flags = 0x40000000 | (0x10000000 if os.geteuid() else 0)\n"
        "failed = ctypes.CDLL(None).unshare(flags)\n"
        "print('no' if failed else 'yes', flush=True)\n"
        "input()"
    )
    witness = Witness(run)
    before = time.clock_gettime(time.CLOCK_BOOTTIME) - 1.0
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        allowed = process.stdout.readline().strip() == "yes"
        name = os.readlink(f"/proc/{process.pid}/ns/net")
        assert allowed == (name != os.readlink("/proc/self/ns/net"))
        if allowed:
            witness.namespaces[name] = before
        assert witness.new_namespaces() == [], "started later: it is somebody else's"
        time.sleep(0.02)  # the start of a process is known to a hundredth of a second
        if allowed:
            witness.namespaces[name] = time.clock_gettime(time.CLOCK_BOOTTIME)
        release(run)
        assert witness.leftovers() == [f"network namespace {name}"] * allowed
        process.communicate("\n")
    assert witness.leftovers() == []


def test_links_of_ours_count_and_no_others(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, ours in (
        ("vif3.0", True),
        ("vif12.1-emu", True),
        ("xenbr0", True),
        ("eth0", False),
        ("veth3", False),
        ("vif", False),
    ):
        assert bool(OUR_LINKS.fullmatch(name)) == ours
    there = {"vif7.0"}
    monkeypatch.setattr("hvsim.lab.leftovers._links", lambda: set(there))
    witness = Witness(run)  # it was there before: another lab's
    release(run)
    assert witness.leftovers() == []
    there.add("xenbr0")
    assert witness.leftovers() == ["network link xenbr0"]


def test_a_terminal_until_it_is_closed(run: RunDir) -> None:
    master, slave = pty.openpty()
    path = os.ttyname(slave)
    witness = Witness(run)
    witness.look([path, "/dev/pts/none"])
    release(run)
    assert witness.leftovers() == [f"pty {path}"]
    os.close(master)
    os.close(slave)
    assert witness.leftovers() == []


def test_a_lab_goes_also_when_the_first_look_is_interrupted(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red when what is to take it down needs what that look has found."""

    class Up:
        def __init__(self) -> None:
            self.run = run
            self.ends: list[bool] = []

        def down(self, *, now: bool) -> None:
            self.ends.append(now)
            release(run)

    def interrupted(_run: RunDir) -> Witness:
        raise KeyboardInterrupt

    lab = Up()
    monkeypatch.setattr(leftovers, "Witness", interrupted)
    with (
        pytest.raises(KeyboardInterrupt),
        leftovers.witnessed(lab, lambda: None),  # type: ignore[arg-type]
    ):
        raise AssertionError("nobody comes so far")
    assert lab.ends == [True]
