"""A hypervisor that a nursery has forked is like any other; and the nursery ends with its user."""

from __future__ import annotations

import errno
import gc
import os
import select
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from hvsim.errors import HvsimError
from hvsim.lab import nursery as nurseries
from hvsim.lab import warm_start
from hvsim.lab.load import load
from hvsim.lab.nursery import Nursery
from hvsim.lab.up import bring_up
from hvsim.linux import proc
from hvsim.observe.evidence import gather
from tests.support.labs import Commands

LAB = """
[lab]
name = "nursling"
walls = "what-there-is"

[[domain]]
name = "guest"
memory = 32
program = "domains.guests.idle:main"
"""


def test_labs_come_up_and_go(tmp_path: Path, here: Commands) -> None:
    """Red with a fork that keeps what it inherits: a lab's pipes never end then."""
    file = tmp_path / "lab.toml"
    file.write_text(LAB, encoding="utf-8")
    with Nursery() as nursery:
        for name in ("one", "two"):
            lab = replace(load(file), name=name)
            running = bring_up(lab, gather=gather, start=nursery.start)
            try:
                rows = here.json("--lab", name, "ps")["domains"]
                assert [row["name"] for row in rows] == ["Domain-0", "guest"]
            finally:
                running.down()
            assert not running.run.path.exists()


def test_it_ends_with_its_user() -> None:
    nursery = Nursery()
    pidfd = os.pidfd_open(nursery.pid)
    try:
        nursery.close()
        ready = select.poll()
        ready.register(pidfd, select.POLLIN)
        assert ready.poll(10_000)
    finally:
        os.close(pidfd)
    assert proc.state(nursery.pid) in ("", *proc.GONE)


def test_one_that_has_died_says_so(tmp_path: Path) -> None:
    with Nursery() as nursery, open(tmp_path / "log", "wb") as log:
        os.kill(nursery.pid, signal.SIGKILL)
        os.waitid(os.P_PID, nursery.pid, os.WEXITED | os.WNOWAIT)
        assert nursery.ended
        with pytest.raises(HvsimError, match="the process that starts labs has ended"):
            nursery.start([], [], log, {})


@pytest.mark.parametrize("call", ["start", "close"])
def test_one_that_stands_still_keeps_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Red when it is waited for without an end."""
    monkeypatch.setattr(nurseries, "START_TIMEOUT", 0.2)
    monkeypatch.setattr(nurseries, "END_TIMEOUT", 0.2)
    with Nursery() as nursery, open(tmp_path / "log", "wb") as log:
        os.kill(nursery.pid, signal.SIGSTOP)
        if call == "close":
            nursery.close()
        else:
            with pytest.raises(HvsimError, match=r"did not answer within 0\.2 s"):
                nursery.start([], [], log, {})
        assert nursery.ended


def test_a_child_tells_how_it_ended_to_whoever_may_know() -> None:
    """Its pidfd is asked, and not its number, which may be that of another child by then."""
    for does, status in (("exit 3", 3), ("kill -9 $$", -9)):
        with subprocess.Popen(["sh", "-c", does]) as process:
            child = warm_start.Child(process.pid, os.pidfd_open(process.pid))
            assert child.wait(10.0) == child.wait() == status
            child.kill()
    pidfd = os.pidfd_open(os.getpid())
    with pytest.raises(TimeoutError, match=r"has not ended within 0\.01 s"):
        warm_start.Child(os.getpid(), pidfd).wait(0.01)
    os.close(pidfd)


def test_a_machine_without_processes_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red when it dies of it, with a traceback: its user hears that it has ended, and not why."""

    def fork(*_: object) -> int:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    for module, name in ((warm_start, "prepare"), (gc, "disable"), (signal, "signal")):
        monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setattr(warm_start, "fork_hypervisor", fork)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    nursery = object.__new__(Nursery)
    nursery._socket = ours
    with ours, theirs, ThreadPoolExecutor(1) as pool, open(tmp_path / "log", "wb") as log:
        serves = pool.submit(nurseries.serve, theirs, [])
        with pytest.raises(HvsimError, match=r"the process that starts labs cannot: .*process"):
            nursery.start([], [], log, {})
        ours.shutdown(socket.SHUT_WR)
        serves.result(10.0)
