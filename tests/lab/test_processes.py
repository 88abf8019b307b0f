"""Processes by identity: a reused pid is never taken for the one that had it before."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from hvsim.lab.processes import Identity, descendants, family, held, wait_all
from hvsim.lab.teardown import end_processes
from hvsim.linux import proc

STUBBORN = """
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
signal.pause()
"""
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {STUBBORN!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print("up", flush=True)
child.wait()
"""


@pytest.fixture
def stubborn() -> Iterator["subprocess.Popen[bytes]"]:
    yield from _started(STUBBORN)


@pytest.fixture
def parent() -> Iterator["subprocess.Popen[bytes]"]:
    yield from _started(PARENT)


def _started(code: str) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def identity_of(process: "subprocess.Popen[bytes]") -> Identity:
    identity = Identity.of(process.pid)
    assert identity is not None
    return identity


def test_an_identity_survives_json(stubborn: "subprocess.Popen[bytes]") -> None:
    identity = identity_of(stubborn)
    assert Identity.from_record(identity.record()) == identity
    assert identity.alive()
    for broken in (None, 3, {}, {"pid": "x", "start_time": 1, "boot": ""}):
        assert Identity.from_record(broken) is None


def test_another_start_time_is_another_process(stubborn: "subprocess.Popen[bytes]") -> None:
    earlier = Identity(stubborn.pid, 1, identity_of(stubborn).boot)
    assert not earlier.alive()
    assert earlier.open() is None
    end_processes([earlier])  # signals nobody
    assert stubborn.poll() is None


def test_a_zombie_is_not_alive(stubborn: "subprocess.Popen[bytes]") -> None:
    identity = identity_of(stubborn)
    stubborn.kill()
    os.waitid(os.P_PID, stubborn.pid, os.WEXITED | os.WNOWAIT)
    assert not identity.alive()
    assert Identity.of(stubborn.pid) is None


def test_a_name_with_parentheses_does_not_confuse_stat() -> None:
    stat = proc.stat(os.getpid())
    assert stat is not None
    assert (stat.pid, stat.parent) == (os.getpid(), os.getppid())
    assert proc.stat(2**22 + 1) is None


def test_who_does_not_end_when_told_is_killed(
    stubborn: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hvsim.lab.teardown.HYPERVISOR_TIMEOUT", 0.05)
    identity = identity_of(stubborn)
    end_processes([identity])
    assert not identity.alive()


def test_the_family_ends_with_its_head(parent: "subprocess.Popen[bytes]") -> None:
    members = family(identity_of(parent))
    assert [one.pid for one in members] == [parent.pid, *descendants(parent.pid)]
    assert len(members) == 2
    end_processes(members)
    assert not any(one.alive() for one in members)


def test_waiting_names_those_that_stay(stubborn: "subprocess.Popen[bytes]") -> None:
    with held([identity_of(stubborn)]) as handles:
        assert wait_all(handles, 0.01) == handles
        handles[0].signal(signal.SIGKILL)
        assert wait_all(handles, 5.0) == []
        handles[0].signal(signal.SIGKILL)  # gone already: no error
