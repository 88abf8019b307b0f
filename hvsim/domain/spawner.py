"""The spawner: a warm fork server that makes domain processes for the hypervisor.

``python -m hvsim.domain.spawner --fd N [--warm MODULE ...]``

It imports once what every domain needs and then forks: a domain costs 3 ms and about a MiB
instead of a fresh interpreter.  It has one thread, for clone copies only one.  It dies with
the hypervisor (PDEATHSIG and end of file), and its children die with it.

Wire: msgpack over the ``SOCK_SEQPACKET`` descriptor N, one message a packet::

    ["spawn", token, spec] + [conn, upcall]           hypervisor -> spawner
    ["join", token, pid, spec] + [conn, upcall]       the same, in the namespaces of that process
    ["spawned", token, pid, missing] + [pidfd]        spawner -> hypervisor
    ["failed", token, text]                           instead of "spawned"
    ["exited", pid, status]                           after "spawned"; status as waitpid(2)

Spawns overlap: "spawned" is sent when the child has built its walls and is about to run,
and the next request does not wait for that.
"""

import argparse
import array
import errno
import gc
import importlib
import itertools
import mmap
import os
import pkgutil
import select
import signal
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from hvsim.domain import compact, nmi, spawn_child
from hvsim.domain.sandbox import NAMESPACES, landlock, seccomp, syscalls
from hvsim.domain.sandbox.namespaces import Cloned, Cloner, clone_into
from hvsim.domain.spawn_spec import SpecError
from hvsim.wire.packing import pack, unpack, unpacker

MAX_MESSAGE: Final = 1 << 20
#: How long a child may take to build its walls, in seconds. It takes milliseconds; more
#: means that it hangs, for example in opening a file on a dead network mount.
SETUP_TIMEOUT: Final = 10.0
#: What runs in the child: ``run(conn_fd, upcall_fd, spec)``.
DEFAULT_ENTRY: Final = "hvsim.domain.start:run"
#: Packages whose modules are all imported before the first fork.
DEFAULT_WARM: Final = ("hvsim.abi", "hvsim.domain", "hvsim.drivers", "msgpack", "domains")

_MAX_FDS: Final = 8
#: Verb and token are within so many bytes.
_HEADER_MAX: Final = 32
#: What a request holds whose child gets no namespaces. Something else may look the same by
#: chance; the child compares with its spec and refuses to be what it is not.
_DOM0: Final = pack("profile") + pack("dom0")
_BARE: Final = pack("namespaces")

_Run = Callable[[int, int, dict[str, Any]], object]


@dataclass
class _Child:
    """A process that we made; ``report`` is the reading end of its report while it has one."""

    token: int
    pid: int
    pidfd: int
    missing: tuple[str, ...]
    report: int | None
    deadline: float


class Spawner:
    """Serves one hypervisor over one socket until that closes.

    Args:
        channel: the socket; it is taken over.
        run: what the child calls when its walls stand.
    """

    def __init__(self, channel: socket.socket, run: _Run) -> None:
        self._channel = channel
        self._run = run
        self._cloner = Cloner()
        self._landlock_abi = landlock.probe_abi()
        self._readable = spawn_child.readable_paths()
        self._own_pidfd = os.pidfd_open(os.getpid())
        self._ids = (os.geteuid(), os.getegid())
        self._children: dict[int, _Child] = {}  # by pidfd
        self._reports: dict[int, _Child] = {}  # by report descriptor
        self._outgoing: deque[tuple[bytes, list[int]]] = deque()
        # One buffer for all requests, empty but while a child is made from it.
        self._request = mmap.mmap(-1, MAX_MESSAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)

    def serve(self) -> None:
        """Serve until the hypervisor closes its end."""
        while True:
            for fd, _ in self._poll.poll(self._poll_timeout()):
                if fd == self._channel.fileno():
                    if not self._flush() or not self._receive():
                        return
                elif fd in self._reports:
                    self._child_reported(self._reports[fd])
                elif fd in self._children:
                    self._child_exited(self._children[fd])
            self._kill_hung()

    def _poll_timeout(self) -> float | None:
        if not self._reports:
            return None
        first = min(child.deadline for child in self._reports.values())
        return max(0.0, first - time.monotonic()) * 1000 + 1

    # requests

    def _receive(self) -> bool:
        """Take one request, if there is one.  False when the hypervisor has gone."""
        try:
            size, ancillary, flags, _ = self._channel.recvmsg_into(
                [self._request],
                socket.CMSG_SPACE(_MAX_FDS * array.array("i").itemsize),
                socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC,
            )
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        if not size:
            return False
        fds = array.array("i")
        for _level, _kind, data in ancillary:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        token = None
        try:
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise ValueError("truncated request")
            token, joined, start = _header(self._request[: min(size, _HEADER_MAX)])
            if len(fds) != 2:
                raise SpecError(f"a spawn request brings 2 descriptors, this one {len(fds)}")
            self._spawn(token, joined, start, size, list(fds))
        except Exception as error:
            if token is None:
                # The hypervisor is trusted; this is a bug of ours, and there is no token to
                # answer to. Say so where our errors go, and go on serving the others.
                print(f"spawner: bad request: {error!r}", file=sys.stderr, flush=True)
            else:
                self._send(["failed", token, str(error)])
        finally:
            _close_all(fds)
            self._request[:size] = bytes(size)
        return True

    def _spawn(self, token: int, joined: int | None, start: int, size: int, fds: list[int]) -> None:
        """Make the child.  Its report decides later between "spawned" and "failed".

        The spec is not parsed here: later children are copies of this process, and what one
        domain is told is nothing that another should find in its memory.
        """
        walled = not self._request.find(_DOM0) >= 0 and not self._request.find(_BARE) >= 0
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            # A process without walls may use any library, threads included: glibc's own fork.
            if joined is not None:
                cloned = self._join(joined)
            else:
                cloned = self._cloner.clone(NAMESPACES) if walled else Cloned(os.fork(), ())
            if cloned.pid == 0:
                self._become_domain(start, size, walled, cloned.missing, fds, writer)
            pidfd = os.pidfd_open(cloned.pid)
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        deadline = time.monotonic() + SETUP_TIMEOUT
        child = _Child(token, cloned.pid, pidfd, cloned.missing, reader, deadline)
        self._children[pidfd] = self._reports[reader] = child
        self._poll.register(reader, select.POLLIN)
        self._poll.register(pidfd, select.POLLIN)

    def _become_domain(
        self,
        start: int,
        size: int,
        walled: bool,
        missing: tuple[str, ...],
        fds: list[int],
        writer: int,
    ) -> NoReturn:
        """In the child: leave the spawner's objects without closing, then be the domain."""
        # The socket object would close its number when it is collected, and that number
        # will be one of the domain's own.
        self._channel.detach()
        spawn_child.become_domain(
            memoryview(self._request)[start:size],
            walled=walled,
            conn_fd=fds[0],
            upcall_fd=fds[1],
            report_fd=writer,
            parent_pidfd=self._own_pidfd,
            readable=self._readable,
            landlock_abi=self._landlock_abi,
            missing=missing,
            run=self._run,
            ids=self._ids,
        )

    def _join(self, pid: int) -> Cloned:
        """A child in the namespaces of one that we made before, but for the mount namespace.

        Raises: SpecError: no such child is alive; OSError.
        """
        host = next((child for child in self._children.values() if child.pid == pid), None)
        if host is None:
            raise SpecError(f"there is no process {pid} any more whose namespaces to join")
        absent = {entry.partition(":")[0] for entry in host.missing}
        names = [name for name in NAMESPACES if name not in absent]
        return Cloned(clone_into(host.pidfd, names), host.missing)

    # children

    def _child_reported(self, child: _Child) -> None:
        """A child has built its walls, or failed to; or has died without a word."""
        assert child.report is not None
        # A report is less than PIPE_BUF, so it comes whole.
        data = os.read(child.report, select.PIPE_BUF)
        self._poll.unregister(child.report)
        del self._reports[child.report]
        os.close(child.report)
        child.report = None
        if not data:
            self._send(["failed", child.token, "the process died while it built its sandbox"])
            child.token = -1
            return
        ok, detail = unpack(data)
        if not ok:
            self._send(["failed", child.token, str(detail)])
            child.token = -1
            return
        self._send(["spawned", child.token, child.pid, detail], [os.dup(child.pidfd)])

    def _child_exited(self, child: _Child) -> None:
        if child.report is not None:
            self._child_reported(child)
        self._poll.unregister(child.pidfd)
        del self._children[child.pidfd]
        _, status = os.waitpid(child.pid, 0)
        os.close(child.pidfd)
        if child.token >= 0:
            self._send(["exited", child.pid, status])

    def _kill_hung(self) -> None:
        now = time.monotonic()
        for child in list(self._reports.values()):
            if child.deadline <= now:
                # Its report then ends without a word, and "failed" is sent.
                signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
                child.deadline = now + SETUP_TIMEOUT

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
                socket.send_fds(self._channel, [data], fds, socket.MSG_DONTWAIT)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENOBUFS, errno.ETOOMANYREFS):
                    self._poll.modify(self._channel.fileno(), select.POLLIN | select.POLLOUT)
                    return True
                if isinstance(error, ConnectionError):
                    return False
                raise
            self._outgoing.popleft()
            _close_all(fds)
        self._poll.modify(self._channel.fileno(), select.POLLIN)
        return True


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


def _close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)


def warm_up(names: Iterable[str]) -> None:
    """Import modules, and every module below those that are packages.

    One that cannot be imported is named on standard error and left to the domain that wants
    it; ``__main__`` modules and this one are passed over.
    """
    for name in names:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:  # it exists, but what it needs does not
                traceback.print_exc()
            continue
        except Exception:
            traceback.print_exc()
            continue
        if name == "domains":  # programs are many; only those that run are worth importing
            continue
        below = (info.name for info in pkgutil.iter_modules(getattr(module, "__path__", ())))
        warm_up(f"{name}.{leaf}" for leaf in below if leaf not in ("__main__", "spawner"))


def _resolve(entry: str) -> _Run:
    module, _, function = entry.partition(":")
    run: _Run = getattr(importlib.import_module(module), function)
    return run


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(
        prog="python -m hvsim.domain.spawner",
        description="Fork server for domain processes. Started by the hypervisor.",
        epilog="example: python -m hvsim.domain.spawner --fd 7 --warm hvsim.domain",
    )
    parser.add_argument("--fd", type=int, required=True, help="SEQPACKET socket, inherited")
    parser.add_argument(
        "--warm", nargs="*", default=DEFAULT_WARM, help="modules and packages to import first"
    )
    parser.add_argument(
        "--entry", default=DEFAULT_ENTRY, help="module:function that runs in the child"
    )
    options = parser.parse_args(argv)
    syscalls.set_death_signal(signal.SIGKILL)
    # The hypervisor may have died before that: then the socket has ended, and we with it.
    syscalls.set_name("hvsim-spawner")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nmi.ignore()
    if os.getpid() != os.getpgrp():
        os.setsid()  # the terminal's signals are the hypervisor's business
    channel = socket.socket(fileno=options.fd)
    channel.set_inheritable(False)
    warm_up(options.warm)
    run = _resolve(options.entry)
    for profile, network in itertools.product(("guest", "driver"), (False, True)):
        try:
            # pid 1 of its own namespace: cached for all children
            seccomp.program(profile, 1, network=network)
        except OSError:
            break  # no table for this machine; each child reports it
    # Neither this process nor, until it asks for it, a child collects garbage: a collection
    # writes to every object and so copies every page.
    spawner = Spawner(channel, run)
    gc.collect()
    compact.settle()
    gc.disable()
    gc.freeze()
    spawner.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
