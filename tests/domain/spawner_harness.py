"""The hypervisor's end of the spawner's socket, for tests of the spawner alone."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import msgpack

from hvsim.spawn.sandbox.cgroup import KERNEL_MEMORY
from hvsim.wire import rights

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TIMEOUT = 20.0


@dataclass
class Spawned:
    """One child: its wires as the hypervisor holds them."""

    pid: int
    pidfd: int
    missing: list[str]
    conn: socket.socket
    upcall: int

    def receive(self) -> Any:
        """The child's next packet; fails when there is none within the time limit."""
        self.conn.settimeout(TIMEOUT)
        data = self.conn.recv(1 << 20)
        assert data, "the child closed its connection without an answer"
        return msgpack.unpackb(data)

    def close(self) -> None:
        self.conn.close()
        os.close(self.upcall)
        os.close(self.pidfd)


class SpawnFailed(Exception):
    """The spawner answered "failed"."""


class Harness:
    """Starts a spawner, speaks its wire, and sees to it that everything is gone at the end."""

    def __init__(
        self,
        entry: str = "tests.domain.spawn_programs:run",
        warm: tuple[str, ...] = ("msgpack",),
        before: Callable[[], None] | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.settimeout(TIMEOUT)
        fd = theirs.fileno()
        command = [sys.executable, "-m", "hvsim.spawn.spawner", "--fd", str(fd)]
        self.process = subprocess.Popen(
            [*command, *options, "--entry", entry, "--warm", *warm],
            pass_fds=[fd],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            preexec_fn=before,
        )
        theirs.close()
        self.children: list[Spawned] = []
        self._ended: set[int] = set()
        self._token = 0

    def __enter__(self) -> "Harness":
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        self.channel.close()
        try:
            self.process.wait(TIMEOUT)
        finally:
            self.process.kill()
            self.process.wait()
        for child in self.children:
            assert gone(child.pidfd), f"process {child.pid} outlived its spawner"
            child.close()

    def request(
        self, spec: dict[str, Any], extra: tuple[int, ...] = (), join: int | None = None
    ) -> Spawned:
        """Send a spawn request, for a further process of the domain of process *join* if there is
        one; the pid is still unknown."""
        conn, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        upcall = os.eventfd(7, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._token += 1
        verb = ["spawn", self._token] if join is None else ["join", self._token, join]
        message = msgpack.packb([*verb, spec])
        rights.send(self.channel, [message], [theirs.fileno(), upcall, *extra])
        theirs.close()
        return Spawned(-1, -1, [], conn, upcall)

    def receive(self) -> tuple[list[Any], list[int]]:
        """The spawner's next message with its descriptors."""
        data, fds = rights.receive(self.channel, 1 << 20, 4)
        assert data, "the spawner has gone"
        message = msgpack.unpackb(data)
        if message[0] == "exited":
            self._ended.add(message[1])
        return message, fds

    def end_children(self) -> None:
        """Kill them, and hear of each one's end: the next test has a spawner without any."""
        for child in self.children:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
        while any(child.pid not in self._ended for child in self.children):
            self.receive()
        for child in self.children:
            child.close()
        self.children.clear()
        self._ended.clear()

    def spawn(
        self,
        program: str,
        *,
        args: dict[str, Any] | None = None,
        join: int | None = None,
        **more: Any,
    ) -> Spawned:
        """Make a child and wait until it runs.

        Raises:
            SpawnFailed: with the spawner's text.
        """
        spec = {"name": "du1", "domid": 1, "process": "main", "program": program, **more}
        child = self.request({**spec, "args": args or {}}, join=join)
        message, fds = self.receive()
        if message[0] != "spawned":
            child.conn.close()
            os.close(child.upcall)
            assert message[0] == "failed", message
            raise SpawnFailed(message[2])
        child.pid, (child.pidfd,) = message[2], fds
        # The cgroup is the hypervisor's to make, and there is none here.
        child.missing = [text for text in message[3] if not text.startswith(KERNEL_MEMORY)]
        assert message[1] == self._token
        self.children.append(child)
        return child

    def warden(self) -> int:
        """The process that makes those with walls; fails where there is none."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for pid in children.read_text().split():
            if Path(f"/proc/{pid}/comm").read_text().strip() == "hvsim-warden":
                return int(pid)
        raise AssertionError("the spawner has no warden")

    def kill_spawner(self) -> None:
        """SIGKILL, as an out-of-memory killer would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(TIMEOUT)


def gone(pidfd: int) -> bool:
    """Wait (bounded) until a process has ended."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(TIMEOUT * 1000))
