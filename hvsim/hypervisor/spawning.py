"""The hypervisor's end of the spawner's wire: who is made, who could not be, and how each ended.

What is said on it is described in ``hvsim.spawn.spawner``.
"""

import contextlib
import select
import socket
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Final, Protocol

from hvsim.hypervisor.host import Doorbell
from hvsim.hypervisor.loop import Loop
from hvsim.wire import rights
from hvsim.wire.boot import Spawner
from hvsim.wire.packing import pack, unpack
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import write

STOP_TIMEOUT: Final = 5.0
"""Seconds that an orderly end waits for the spawner."""
_MESSAGE: Final = 1 << 16


class Child(Protocol):
    """The spawner's process, as ``subprocess.Popen``."""

    pid: int

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status.  Raises: TimeoutExpired, TimeoutError."""

    def kill(self) -> None:
        """SIGKILL."""


StartSpawner = Callable[[Sequence[str], int, IO[bytes] | None], Child]
"""Starts the spawner with a command line, whose descriptor it inherits, and where its output goes;
None: where ours does."""


def as_program(words: Sequence[str], fd: int, output: IO[bytes] | None) -> Child:
    """Start it as what it is."""
    return subprocess.Popen(
        words, pass_fds=(fd,), stdin=subprocess.DEVNULL, stdout=output, stderr=output
    )


class Told(Protocol):
    """Who hears what the spawner says."""

    def spawned(self, token: int, pid: int, missing: list[str], pidfd: int) -> None:
        """A process runs; the pidfd is the listener's."""

    def spawn_failed(self, token: int, text: str) -> None:
        """A process could not be made."""

    def exited(self, pid: int, status: int) -> None:
        """How a process has ended (waitpid(2)), before or after its pidfd says that it has."""

    def spawner_odd(self, text: str) -> None:
        """It says what it should not."""

    def spawner_died(self) -> None:
        """It has closed the wire."""


class Spawning:
    """The spawner, a child of ours, and the requests on their way to it.

    Args:
        program: its command, to which "--fd N" is added, and the modules that it loads first.
        start: starts it.
        log: the file its output goes to, None for where ours goes.

    Raises OSError.

    Attributes:
        pid: the spawner's.
    """

    def __init__(
        self,
        loop: Loop,
        told: Told,
        program: Spawner,
        log: Path | None,
        start: StartSpawner,
    ) -> None:
        self._loop = loop
        self._told = told
        self._requests: list[tuple[bytes, tuple[socket.socket, Doorbell]]] = []
        ours, theirs = pair()
        self._channel = ours
        with contextlib.ExitStack() as stack:
            stack.callback(theirs.close)
            output = None if log is None else stack.enter_context(log.open("ab"))
            warm = ["--warm", *program.preload] if program.preload else []
            words = [*program.argv, "--fd", str(theirs.fileno()), *warm]
            self._process = start(words, theirs.fileno(), output)
        self.pid = self._process.pid
        loop.watch(ours.fileno(), select.EPOLLIN, self._event)

    def ask(
        self,
        token: int,
        spec: Spawn,
        join: int | None,
        connection: socket.socket,
        upcall: Doorbell,
    ) -> None:
        """Queue the request for a process, which :meth:`send` sends; the far end of its connection
        is closed here when it has been.

        Args:
            join: the process whose namespaces it is to live in; None for its own.
        """
        told = write(spec)
        request = ["spawn", token, told] if join is None else ["join", token, join, told]
        self._requests.append((pack(request), (connection, upcall)))

    def send(self) -> None:
        """Send the requests that wait, as far as the wire takes them."""
        while self._requests:
            data, (connection, upcall) = self._requests[0]
            try:
                fds = (connection.fileno(), upcall.fd)
                rights.send(self._channel, [data], fds, socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._loop.modify(self._channel.fileno(), select.EPOLLIN | select.EPOLLOUT)
                return
            except OSError as error:
                text = f"cannot reach the spawner: {error.strerror}"
                failed = partial(self._told.spawn_failed, unpack(data)[1], text)
                self._loop.call_later(0, failed)
            del self._requests[0]
            connection.close()
        self._loop.modify(self._channel.fileno(), select.EPOLLIN)

    def hear(self, timeout: float) -> bool:
        """Wait at most *timeout* seconds for what it says next; whether it has said something."""
        ready = select.poll()
        ready.register(self._channel, select.POLLIN)
        if not ready.poll(timeout * 1000):
            return False
        self._event(select.EPOLLIN)
        return True

    def _event(self, events: int) -> None:
        if events & select.EPOLLOUT:
            self.send()
        if not events & ~select.EPOLLOUT:
            return
        try:
            data, fds = rights.receive(self._channel, _MESSAGE, 1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except rights.Truncated as odd:
            self._told.spawner_odd(f"the spawner says {odd.strerror}")
            return
        except OSError:
            data, fds = b"", []
        if not data:
            self._loop.unwatch(self._channel.fileno())
            self._told.spawner_died()
            return
        match unpack(data):
            case ["spawned", int(token), int(pid), list(missing)] if fds:
                self._told.spawned(token, pid, missing, fds.pop())
            case ["failed", int(token), str(text)]:
                self._told.spawn_failed(token, text)
            case ["exited", int(pid), int(status)]:
                self._told.exited(pid, status)
            case other:
                self._told.spawner_odd(f"the spawner says {other!r}"[:200])
        rights.close(fds)

    def close(self) -> None:
        """End the spawner by closing its wire, and wait for it."""
        self._loop.unwatch(self._channel.fileno())
        self._channel.close()
        try:
            self._process.wait(STOP_TIMEOUT)
        except (subprocess.TimeoutExpired, TimeoutError):
            self._process.kill()
            self._process.wait()


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a wire, of which the first, ours, never waits.  Raises OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    ours.setblocking(False)
    return ours, theirs
