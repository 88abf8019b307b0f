"""Who was left by his parent before the kernel knew to kill him with it ends himself.

``PR_SET_PDEATHSIG`` says nothing of a parent that is dead already.  The pidfd of the parent does:
it is readable.  Each case runs twice, once with a parent that lives, for a process that ends by
itself anyway would show nothing.
"""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 30.0

DOMAIN = """
import os, socket, sys
from hvsim.spawn import child as spawn_child
from hvsim.wire.packing import pack

report, parent = int(sys.argv[1]), int(sys.argv[2])
conn, upcall = socket.socketpair()
spec = {"name": "x", "process": "x", "profile": "dom0", "program": "a:b"}
spawn_child.become_domain(
    memoryview(pack(spec)), walled=False, conn_fd=conn.fileno(), upcall_fd=os.eventfd(0),
    report_fd=report, parent_pidfd=parent, readable=(), landlock_abi=0, run=lambda *_: None,
)
"""
WARDEN = """
import os, socket, sys
from hvsim.spawn import warden

report, parent = int(sys.argv[1]), int(sys.argv[2])
wire, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
warden._prepare = lambda _: None
theirs.send(b"go")



class Warden:
    def __init__(self, *_):
        os.write(report, theirs.recv(100))

    def serve(self):
        pass


warden.Warden = Warden
warden._be_warden(wire, wire, None, parent, 10.0)
"""


def said(source: str, parent: int) -> bytes:
    """What a process of *source* reports, whose parent *parent*, a pidfd, is said to be."""
    reader, writer = os.pipe()
    command = [sys.executable, "-c", source, str(writer), str(parent)]
    with open(reader, "rb") as report:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, pass_fds=(writer, parent), env=environment) as process:
            os.close(writer)
            assert select.select([report], [], [], LIMIT)[0]
            text = report.read()
            process.wait(LIMIT)
    return text


@pytest.mark.parametrize("source", [DOMAIN, WARDEN], ids=["domain", "warden"])
def test_a_parent_that_is_dead_already(source: str) -> None:
    """Red without the look at the pidfd (``spawn_child``, ``warden``)."""
    with subprocess.Popen(["true"]) as process:
        dead = os.pidfd_open(process.pid)
    try:
        assert select.select([dead], [], [], LIMIT)[0]
        assert said(source, dead) == b""
    finally:
        os.close(dead)


@pytest.mark.parametrize("source", [DOMAIN, WARDEN], ids=["domain", "warden"])
def test_a_parent_that_lives(source: str) -> None:
    alive = os.pidfd_open(os.getpid())
    try:
        assert said(source, alive)
    finally:
        os.close(alive)
