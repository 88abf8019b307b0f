"""``hvsim exec``: the process that runs one program of the machine inside a domain.

Its other end is the command that a person typed.  Over one ``SOCK_SEQPACKET`` connection come the
program's three descriptors and later signals for it, and go its end or why it could not begin:

    {"terminal": bool} + [stdin, stdout, stderr]      command -> here
    ["signal", number]                                command -> here
    ["exit", status] | ["failed", status, text]       here -> command

When the command goes, the program goes: SIGHUP, and SIGKILL after a while.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import msgpack

from hvsim.domain import executable
from hvsim.domain.executable import CannotRun, Door

CONNECT_TIMEOUT: Final = 10.0
"""Seconds for the command's socket to take us, and for its descriptors to come."""
HANGUP_GRACE: Final = 2.0
"""Seconds that a program has to end after SIGHUP."""
_MESSAGE: Final = 256


def connect(path: str) -> int:
    """Connect to the command, before the walls; returns the descriptor.  Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(CONNECT_TIMEOUT)
        try:
            sock.connect(path)
        except OSError as error:
            raise OSError(error.errno, f"hvsim exec has gone: {error.strerror}") from None
        return sock.detach()


def run(stdio_fd: int, conn_fd: int, upcall_fd: int, spec: Mapping[str, Any]) -> NoReturn:
    """Run the program of *spec* (``exec``) and see it to its end.

    Raises: SystemExit, always.
    """
    with socket.socket(fileno=stdio_fd) as command:
        command.settimeout(CONNECT_TIMEOUT)
        data, fds, _, _ = socket.recv_fds(command, _MESSAGE, 3, socket.MSG_CMSG_CLOEXEC)
        command.settimeout(None)
        if len(fds) != 3:
            raise SystemExit(1)  # it went before it had said anything
        terminal = bool(msgpack.unpackb(data).get("terminal"))
        try:
            pid = _start(conn_fd, spec, (fds[0], fds[1], fds[2]), terminal)
        except (CannotRun, OSError) as failure:
            status = failure.status if isinstance(failure, CannotRun) else 126
            _tell(command, ["failed", status, str(failure)])
            raise SystemExit(status) from None
        for fd in fds:
            os.close(fd)
        status = _see_through(command, pid)
        _tell(command, ["exit", status])
    raise SystemExit(0)


def _start(
    conn_fd: int, spec: Mapping[str, Any], stdio: tuple[int, int, int], terminal: bool
) -> int:
    door = Door.over(conn_fd)
    env = executable.environment(
        int(spec.get("domid") or 0),
        str(spec.get("name") or ""),
        executable.store_socket(spec),
        door,
        {str(key): str(value) for key, value in (spec.get("env") or {}).items()},
    )
    return executable.start(
        [str(word) for word in spec["exec"]],
        env,
        stdio,
        kept=(door.connection, door.lock),
        terminal=terminal,
        directory=str(spec.get("directory") or "/"),
    )


def _see_through(command: socket.socket, pid: int) -> int:
    """Pass signals on until the program ends; returns its status as a shell says it."""
    pidfd = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(command, select.POLLIN)
    poll.register(pidfd, select.POLLIN)
    timeout: float | None = None
    try:
        while True:
            ready = [fd for fd, _ in poll.poll(timeout)]
            if pidfd in ready:
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                return code if code >= 0 else 128 - code
            if not ready:
                _signal(pid, signal.SIGKILL)
            elif not _listen(command, pid):
                poll.unregister(command)
                _signal(pid, signal.SIGHUP)
                timeout = HANGUP_GRACE * 1000
    finally:
        os.close(pidfd)


def _listen(command: socket.socket, pid: int) -> bool:
    """Take one message of the command; False when it has gone."""
    try:
        data = command.recv(_MESSAGE)
    except OSError:
        return False
    if not data:
        return False
    match msgpack.unpackb(data):
        case ["signal", int(number)] if 0 < number < signal.NSIG:
            _signal(pid, number)
        case _:
            pass
    return True


def _signal(pid: int, number: int) -> None:
    """To the program's whole session leader's group; it may have gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _tell(command: socket.socket, message: list[Any]) -> None:
    with contextlib.suppress(OSError):
        command.send(msgpack.packb(message))
