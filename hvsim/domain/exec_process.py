"""``hvsim exec``: the process that runs one program of the machine inside a domain.

Its other end is the command that a person typed.  Over one ``SOCK_SEQPACKET`` connection come the
program's three descriptors and later signals for it, and go its end or why it could not begin:

    {"terminal": bool} + [stdin, stdout, stderr]      command -> here
    ["terminal"] + [master]                           here -> command, when one was wanted
    ["signal", number]                                command -> here
    ["exit", status] | ["failed", status, text]       here -> command

A program is not trusted with a person's terminal: whoever holds one can type into it.  It gets one
of its own instead, made here so that it has a name in the domain, whose other end the command gets.

When the command goes, the program goes: SIGHUP, and SIGKILL after a while.

A program of Domain-0 may leave daemons behind (xenwatchdogd does), as on a real host: this process
goes on being the kernel below them, until the last has ended, or the lab.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from hvsim.domain.domain import Domain
from hvsim.domain.executable import NOT_EXECUTABLE, CannotRun, Executable
from hvsim.domain.sandbox import syscalls
from hvsim.wire.packing import pack, unpack

CONNECT_TIMEOUT: Final = 10.0
"""Seconds for the command's socket to take us, and for its descriptors to come."""
LINGER_STEP: Final = 0.25
"""Seconds between two looks at what a program of Domain-0 has left behind."""
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
        data, fds, _, _ = socket.recv_fds(command, _MESSAGE, 3)
        for fd in fds:  # Python's recv_fds forgets the flag that says so
            os.set_inheritable(fd, False)
        command.settimeout(None)
        for fd in fds:
            os.set_inheritable(fd, False)  # CPython's recv_fds passes no flags on
        if len(fds) != 3:
            raise SystemExit(1)  # it went before it had said anything
        terminal = bool(unpack(data).get("terminal"))
        dom = Domain.attach(conn_fd, upcall_fd, spec, store=False, console=False)
        try:
            if terminal:
                fds[:] = _own_terminal(command, fds)
            session = _Session(dom, command, (fds[0], fds[1], fds[2]), terminal)
        except (CannotRun, OSError) as failure:
            status = failure.status if isinstance(failure, CannotRun) else NOT_EXECUTABLE
            _tell(command, ["failed", status, str(failure)])
            raise SystemExit(0) from None
        for fd in set(fds):
            os.close(fd)
        dom.wait(lambda: session.status is not None, None, "the end of the program")
        _tell(command, ["exit", session.status])
    session.linger()
    raise SystemExit(0)


def _own_terminal(command: socket.socket, given: list[int]) -> list[int]:
    """A terminal in place of the descriptors that were given; the command gets its master.

    Raises: OSError: there are none to be had.
    """
    master, slave = os.openpty()
    try:
        socket.send_fds(command, [pack(["terminal"])], [master])
    finally:
        os.close(master)
    for fd in given:
        os.close(fd)
    return [slave, slave, slave]


class _Session:
    """The program, and the command that wanted it.

    Attributes:
        status: the program's, once it has ended.
    """

    def __init__(
        self, dom: Domain, command: socket.socket, stdio: tuple[int, int, int], terminal: bool
    ) -> None:
        spec = dom.spec
        self.status: int | None = None
        self._dom = dom
        self._command = command
        self._linger = dom.domid == 0
        if self._linger:
            self._watch_over()
        self._program = Executable(
            dom,
            [str(word) for word in spec["exec"]],
            stdio,
            self._ended,
            env={str(key): str(value) for key, value in (spec.get("env") or {}).items()},
            terminal=terminal,
            directory=str(spec.get("directory") or "/"),
            linger=self._linger,
        )
        dom.vcpu.add_fd(command.fileno(), self._listen)

    def _ended(self, status: int) -> None:
        self.status = status

    def _watch_over(self) -> None:
        """What is left behind is ours, and ends when the hypervisor has gone, and with it the lab.

        The kernel's own signal for that would reach us and not them, so we do without it.
        """
        syscalls.adopt_orphans()
        self._dom.hypercall.on_gone = _end_all
        syscalls.set_death_signal(0)

    def linger(self) -> None:
        """Stay below the daemons that the program has left, if it has."""
        if not self._linger:
            return
        while self._program.lingers:
            self._dom.vcpu.block(LINGER_STEP)
            self._dom.vcpu.dispatch()
            _reap()
        self._program.close()

    def _listen(self) -> None:
        """Take one message of the command, or note that it has gone."""
        try:
            data = self._command.recv(_MESSAGE)
        except OSError:
            data = b""
        if not data:
            self._dom.vcpu.remove_fd(self._command.fileno())
            self._program.signal(signal.SIGHUP)
            self._dom.vcpu.call_later(HANGUP_GRACE, lambda: self._program.signal(signal.SIGKILL))
            return
        match unpack(data):
            case ["signal", int(number)] if 0 < number < signal.NSIG:
                self._program.signal(number)
            case _:
                pass


def _reap() -> bool:
    """Take note of the ends of processes that were left to us; False when none is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _end_all() -> NoReturn:
    """The lab has ended: kill our children, and those of theirs that become ours by it."""
    deadline = time.monotonic() + HANGUP_GRACE
    while time.monotonic() < deadline and _reap():
        for pid in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)
    os._exit(1)


def _children() -> list[int]:
    """None where the kernel does not tell (CONFIG_PROC_CHILDREN)."""
    pid = os.getpid()
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
        return [int(word) for word in file.read().split()]
    return []


def _tell(command: socket.socket, message: list[Any]) -> None:
    with contextlib.suppress(OSError):
        command.send(pack(message))
