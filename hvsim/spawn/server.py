"""Serving requests for processes: what both spawners have in common.

Who makes the child, and in which namespaces, is for the subclasses
(:class:`~hvsim.spawn.spawner.Spawner`, :class:`~hvsim.spawn.warden.Warden`).  Spawns overlap:
"spawned" is sent when the child has built its walls and is about to run, and the next request does
not wait for that.  The wire is described in :mod:`hvsim.spawn.spawner`.
"""

import contextlib
import errno
import mmap
import os
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from hvsim import shortage
from hvsim.spawn.sandbox.namespaces import Cloned, host_pid
from hvsim.speak import note
from hvsim.wire import rights
from hvsim.wire.packing import pack, unpack, unpacker
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import BadMessage

MAX_MESSAGE: Final = 1 << 20
#: How long a child may take to build its walls, in seconds. It takes milliseconds; more
#: means that it hangs, for example in opening a file on a dead network mount.
SETUP_TIMEOUT: Final = 10.0
_MAX_FDS: Final = 8
#: Verb and token are within so many bytes.
_HEADER_MAX: Final = 32

Run = Callable[[int, int, Spawn], object]
"""What runs in a child when its walls stand: ``run(conn_fd, upcall_fd, spec)``."""


@dataclass
class Child:
    """A process that we made.

    Attributes:
        number: its pid as we see it; *pid* as the hypervisor does.
        report: the reading end of its report while it has one.
        hung: when that did not come in time.
    """

    token: int
    number: int
    pid: int
    pidfd: int
    report: int | None
    deadline: float
    hung: bool = False


@dataclass(frozen=True)
class Request:
    """One request, as far as it is looked at here.

    Attributes:
        joined: the pid of whom to join, None for a process in namespaces of its own.
        spec: the packed specification, which only the child reads.
        fds: the hypercall connection and the upcall.
    """

    token: int
    joined: int | None
    spec: memoryview
    fds: tuple[int, int]


class SpawnServer:
    """Serves requests of one socket until that closes.

    Args:
        inbound: where requests come from; owned from here on.
        outbound: where answers go; shared with others, one packet is one answer.
        proc: descriptor of the machine's /proc.
        setup_timeout: seconds that a child has to build its walls.
    """

    def __init__(
        self, inbound: socket.socket, outbound: socket.socket, proc: int, setup_timeout: float
    ) -> None:
        self._inbound = inbound
        self._outbound = outbound
        self.proc = proc
        self._setup_timeout = setup_timeout
        self.children: dict[int, Child] = {}  # by pidfd
        self._reports: dict[int, Child] = {}  # by report descriptor
        self._outgoing: deque[tuple[bytes, list[int]]] = deque()
        # One buffer for all requests, empty but while a child is made from it.
        self._request = mmap.mmap(-1, MAX_MESSAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._size = 0
        self.poll = select.poll()
        self.poll.register(inbound.fileno(), select.POLLIN)

    # what a spawner does

    def make(self, request: Request) -> Cloned:
        """Make a child; returns in it as well, with pid 0.

        Raises: BadMessage, OSError: it could not be made, and why.
        """
        raise NotImplementedError

    def become(self, request: Request, cloned: Cloned, report: int) -> NoReturn:
        """In the child: build the walls, report, and run."""
        raise NotImplementedError

    def passed_on(self, message: memoryview, fds: Sequence[int]) -> bool:
        """Whether somebody else has taken a request."""
        return False

    def on_event(self, fd: int) -> bool:
        """Something else that was registered is ready.  False to end."""
        return True

    def holds(self, marker: bytes) -> bool:
        """Whether the request at hand has these bytes somewhere.  It is not copied for that."""
        return self._request.find(marker, 0, self._size) >= 0

    # the loop

    def serve(self) -> None:
        """Serve until the other end closes."""
        while True:
            for fd, _ in self.poll.poll(self._poll_timeout()):
                if fd == self._outbound.fileno() and fd != self._inbound.fileno():
                    going_on = self._flush()
                elif fd == self._inbound.fileno():
                    going_on = self._flush() and self._receive()
                elif fd in self._reports:
                    going_on = True
                    self._child_reported(self._reports[fd])
                elif fd in self.children:
                    going_on = True
                    self._child_exited(self.children[fd])
                else:
                    going_on = self.on_event(fd)
                if not going_on:
                    return
            self._kill_hung()

    def _poll_timeout(self) -> float | None:
        if not self._reports:
            return None
        first = min(child.deadline for child in self._reports.values())
        return max(0.0, first - time.monotonic()) * 1000 + 1

    # requests

    def _receive(self) -> bool:
        """Take one request, if there is one.  False when the other end has gone."""
        try:
            size, fds = rights.receive_into(
                self._inbound, self._request, _MAX_FDS, socket.MSG_DONTWAIT
            )
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        except rights.Truncated as odd:
            note(f"spawner: bad request: {odd.strerror}")
            return True
        if not size:
            return False
        self._size = size
        token = None
        whole = memoryview(self._request)
        try:
            token, joined, start = _header(self._request[: min(size, _HEADER_MAX)])
            if len(fds) != 2:
                raise BadMessage(f"a spawn request brings 2 descriptors, this one {len(fds)}")
            if not self.passed_on(whole[:size], fds):
                self._spawn(Request(token, joined, whole[start:size], (fds[0], fds[1])))
        except Exception as error:
            if token is None:
                # The hypervisor is trusted; this is a bug of ours, and there is no token to
                # answer to. Say so where our errors go, and go on serving the others.
                note(f"spawner: bad request: {error!r}")
            else:
                said = shortage.told(error) if isinstance(error, OSError) else None
                self._send(["failed", token, said or str(error)])
        finally:
            rights.close(fds)
            self._request[:size] = bytes(size)
        return True

    def _spawn(self, request: Request) -> None:
        """Make the child.  Its report decides later between "spawned" and "failed".

        The spec is not parsed here: later children are copies of this process, and what one
        domain is told is nothing that another should find in its memory.
        """
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            cloned = self.make(request)
            if cloned.pid == 0:
                # The socket objects would close their numbers when they are collected, and those
                # will be some of the domain's own.
                self._inbound.detach()
                if self._outbound is not self._inbound:
                    self._outbound.detach()
                self.become(request, cloned, writer)
            pidfd = os.pidfd_open(cloned.pid)
            try:
                pid = host_pid(self.proc, pidfd)
            except OSError:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                os.waitpid(cloned.pid, 0)
                os.close(pidfd)
                raise
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        deadline = time.monotonic() + self._setup_timeout
        child = Child(request.token, cloned.pid, pid, pidfd, reader, deadline)
        self.children[pidfd] = self._reports[reader] = child
        self.poll.register(reader, select.POLLIN)
        self.poll.register(pidfd, select.POLLIN)

    # children

    def _child_reported(self, child: Child) -> None:
        """A child has built its walls, or failed to; or has died without a word."""
        assert child.report is not None
        # A report is less than PIPE_BUF, so it comes whole.
        data = os.read(child.report, select.PIPE_BUF)
        self.poll.unregister(child.report)
        del self._reports[child.report]
        os.close(child.report)
        child.report = None
        if not data:
            text = "the process died while it built its sandbox"
            if child.hung:
                limit = f"{self._setup_timeout:g} s"
                text = f"the process did not build its sandbox within {limit}"
            self._send(["failed", child.token, text])
            child.token = -1
            return
        ok, detail = unpack(data)
        if not ok:
            self._send(["failed", child.token, str(detail)])
            child.token = -1
            return
        self._send(["spawned", child.token, child.pid, detail], [os.dup(child.pidfd)])

    def _child_exited(self, child: Child) -> None:
        if child.report is not None:
            self._child_reported(child)
        self.poll.unregister(child.pidfd)
        del self.children[child.pidfd]
        self.forget(child)
        _, status = os.waitpid(child.number, 0)
        os.close(child.pidfd)
        if child.token >= 0:
            self._send(["exited", child.pid, status])

    def forget(self, child: Child) -> None:
        """A child has gone."""

    def _kill_hung(self) -> None:
        now = time.monotonic()
        for child in list(self._reports.values()):
            if child.deadline <= now:
                # Its report then ends without a word, and "failed" is sent.
                signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
                child.deadline, child.hung = now + self._setup_timeout, True

    # answers

    def _send(self, message: list[Any], fds: Sequence[int] = ()) -> None:
        """Queue a message; ``fds`` are closed once sent."""
        self._outgoing.append((pack(message), list(fds)))
        self._flush()

    def _flush(self) -> bool:
        """Send what the socket takes.  False when the hypervisor has gone."""
        while self._outgoing:
            data, fds = self._outgoing[0]
            try:
                rights.send(self._outbound, [data], fds, socket.MSG_DONTWAIT)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENOBUFS, errno.ETOOMANYREFS):
                    self._listen_for_room(True)
                    return True
                if isinstance(error, ConnectionError):
                    return False
                raise
            self._outgoing.popleft()
            rights.close(fds)
        self._listen_for_room(False)
        return True

    def _listen_for_room(self, wanted: bool) -> None:
        room = select.POLLOUT if wanted else 0
        if self._outbound is self._inbound:
            self.poll.modify(self._inbound.fileno(), select.POLLIN | room)
        elif wanted:
            self.poll.register(self._outbound.fileno(), room)
        else:
            with contextlib.suppress(KeyError):  # it may not be there
                self.poll.unregister(self._outbound.fileno())


def _header(head: bytes) -> tuple[int, int | None, int]:
    """Token of a request, the pid of whom to join, and where its spec begins.

    Raises ValueError for anything else.
    """
    parts_of = unpacker()
    parts_of.feed(head)
    try:
        parts, verb, token = parts_of.read_array_header(), parts_of.unpack(), parts_of.unpack()
        joined = parts_of.unpack() if verb == "join" else None
    except Exception as error:
        raise ValueError(f"no request: {error!r}") from None
    known = (parts, verb) == (3, "spawn") or ((parts, verb) == (4, "join") and type(joined) is int)
    if not known or not isinstance(token, int):
        raise ValueError(f"not a spawn request: {verb!r}")
    return token, joined, int(parts_of.tell())
