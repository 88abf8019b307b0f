"""``hvsim exec``: the process that runs one program of the machine inside a domain.

Its other end is the command that a person typed; the wire is ``hvsim.wire.execution``'s.

No domain holds a person's terminal: whoever does reads what is typed there later, and may type
into it.  A program that is to have one gets its own, made here, and only bytes go to and fro.

When the command goes, the program goes: SIGHUP, and SIGKILL after a while.

A program of Domain-0 may leave daemons behind (xenwatchdogd does), as on a real host: this process
goes on being the kernel below them, until the last has ended, or the lab.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import time
from collections import deque
from typing import Final, NoReturn

from hvsim.domain.domain import Domain
from hvsim.linux import proc, syscalls
from hvsim.spawn.exec_terminal import ProgramTerminal
from hvsim.spawn.executable import NOT_EXECUTABLE, CannotRun, Executable
from hvsim.speak import note
from hvsim.wire import execution, rights
from hvsim.wire.execution import (
    GIVEN,
    MESSAGE_MAX,
    TERMINAL,
    WINDOW,
    Begin,
    Exited,
    Failed,
    Resized,
    Shown,
    Signalled,
    Took,
    Typed,
)
from hvsim.wire.hearing import heard
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import BadMessage, Word

CONNECT_TIMEOUT: Final = 10
"""Seconds for the command's socket to take us, and for its descriptors to come."""
LINGER_STEP: Final = 0.25
"""Seconds between two looks at what a program of Domain-0 has left behind."""
HANGUP_GRACE: Final = 2.0
"""Seconds that a program has to end after SIGHUP."""
AT_A_TIME: Final = 16
"""Messages of output after which the command, and the timers, are heard."""
_TIMEVAL: Final = struct.Struct("@ll")
LAST_WORDS: Final = 256 * 1024
"""Bytes of a terminal that are taken after the program's end; what it left running may write on."""


def connect(path: str) -> int:
    """Connect to the command, before the walls; returns the descriptor.  Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        # Not settimeout: a connect(2) that does not block is refused while another one waits.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL.pack(CONNECT_TIMEOUT, 0))
        try:
            sock.connect(path)
        except OSError as error:
            raise OSError(error.errno, f"hvsim exec has gone: {error.strerror}") from None
        return sock.detach()


def run(stdio_fd: int, conn_fd: int, upcall_fd: int, spec: Spawn) -> NoReturn:
    """Run the program of *spec* (``exec``) and see it to its end.

    Raises: SystemExit, always.
    """
    with socket.socket(fileno=stdio_fd) as command:
        try:
            begin, fds = receive(command)
        except (OSError, ValueError) as wrong:
            text = f"hvsim exec did not say what the program's descriptors are: {wrong}"
            note(text)
            _tell(command, Failed(NOT_EXECUTABLE, text))
            raise SystemExit(1) from None
        dom = Domain.attach(conn_fd, upcall_fd, spec, store=False, console=False)
        try:
            session = _Session(dom, command, begin, fds)
        except (CannotRun, OSError) as failure:
            status = failure.status if isinstance(failure, CannotRun) else NOT_EXECUTABLE
            _tell(command, Failed(status, str(failure)))
            raise SystemExit(0) from None
        finally:
            rights.close(fds)
        dom.wait(lambda: session.over, None, "the end of the program")
        session.linger()
    raise SystemExit(0)


def receive(command: socket.socket) -> tuple[Begin, list[int]]:
    """What the command wants, and the descriptors of those streams that are given.

    Raises: ValueError for what is none; OSError, TimeoutError when nothing comes.
    """
    command.settimeout(CONNECT_TIMEOUT)
    data, fds = rights.receive(command, MESSAGE_MAX, 3)
    command.settimeout(None)
    try:
        begin = execution.begin(data)
        if len(fds) != begin.streams.count(GIVEN):
            raise BadMessage(f"{len(fds)} descriptors for {begin.streams.count(GIVEN)} streams")
    except BaseException:
        rights.close(fds)
        raise
    return begin, fds


class _Session:
    """The program, and the command that wanted it.

    Attributes:
        over: the program has ended, and the command knows it or has gone.
    """

    def __init__(self, dom: Domain, command: socket.socket, begin: Begin, fds: list[int]) -> None:
        self.over = False
        self._dom = dom
        self._command = command
        self._outbox: deque[bytes] = deque()
        self._status: int | None = None
        self._gone = False
        self._finished = False
        self._last_words = 0
        self._terminal: ProgramTerminal | None = None
        self._linger = dom.domid == 0
        if self._linger:
            self._watch_over()
        dom.vcpu.add_fd(command.fileno(), self._event)
        if TERMINAL in begin.streams:
            try:
                self._terminal = ProgramTerminal(
                    dom.vcpu, self._pump, self._took, begin.modes, begin.size
                )
            except OSError as failure:
                raise OSError(
                    failure.errno,
                    f"no terminal for the program: {failure.strerror}; "
                    "`hvsim exec -T` does without one",
                ) from None
        self._program = self._start(begin, fds)

    def _start(self, begin: Begin, fds: list[int]) -> Executable:
        spec = self._dom.spec
        given = iter(fds)
        slave = -1 if self._terminal is None else self._terminal.slave
        zero, one, two = [next(given) if kind == GIVEN else slave for kind in begin.streams]
        return Executable(
            self._dom,
            list(spec.exec),
            (zero, one, two),
            self._ended,
            env=spec.env,
            terminal=begin.streams.index(TERMINAL) if TERMINAL in begin.streams else None,
            directory=spec.directory,
            linger=self._linger,
        )

    # -- the program ---------------------------------------------------------------------------

    def _ended(self, status: int) -> None:
        self._status = status
        self._pump()

    def _pump(self) -> None:
        """Pass on what the terminal shows, and last of all that the program has ended."""
        turns = AT_A_TIME
        while turns and not self._outbox and not self._finished:
            data = self._shown()
            if data:
                self._send(Shown(data))
                turns -= self._status is None
            elif self._status is None:
                return
            else:
                self._finish(self._status)

    def _shown(self) -> bytes:
        if self._terminal is None or self._last_words >= LAST_WORDS:
            return b""
        data = self._terminal.read()
        if self._status is not None:
            self._last_words += len(data)
        return data

    def _finish(self, status: int) -> None:
        if self._terminal is not None:
            self._terminal.close()
            self._terminal = None
        self._finished = True
        self._send(Exited(status))
        self.over = self._gone or not self._outbox

    # -- the command ---------------------------------------------------------------------------

    def _send(self, message: Word) -> None:
        if not self._gone:
            self._outbox.append(execution.packed(message))
            self._flush()

    def _flush(self) -> None:
        while self._outbox:
            try:
                self._command.send(self._outbox[0], socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                self._hung_up()
                return
            self._outbox.popleft()
        self._dom.vcpu.modify_fd(self._command.fileno(), write=bool(self._outbox))
        if self._terminal is not None:
            self._terminal.listen(not self._outbox)

    def _event(self) -> None:
        self._listen()
        if self._outbox and not self._gone:
            self._flush()
        if self._finished:
            self.over = self._gone or not self._outbox
        elif not self._outbox:
            self._pump()

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
        data = heard(self._command, MESSAGE_MAX)
        if data is None:
            return
        if not data:
            self._hung_up()
            return
        try:
            message = execution.from_command(data)
        except BadMessage:
            self._hung_up()
            return
        match message:
            case Signalled(number=number):
                self._program.signal(number)
            case Typed(data=data) if self._terminal is not None:
                if self._terminal.unwritten + len(data) > WINDOW:
                    self._hung_up()
                    return
                self._terminal.write(data)
            case Resized(rows=rows, columns=columns) if self._terminal is not None:
                self._terminal.resize(rows, columns)

    def _took(self, count: int) -> None:
        self._send(Took(count))

    def _hung_up(self) -> None:
        """The command has gone, or makes no sense: the program goes as well."""
        if self._gone:
            return
        self._gone = True
        self._outbox.clear()
        self._dom.vcpu.remove_fd(self._command.fileno())
        if self._finished:
            self.over = True
            return
        self._program.signal(signal.SIGHUP)
        self._dom.vcpu.call_later(HANGUP_GRACE, lambda: self._program.signal(signal.SIGKILL))


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
        for pid in proc.children(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)
    os._exit(1)


def _tell(command: socket.socket, message: Word) -> None:
    with contextlib.suppress(OSError):
        command.send(execution.packed(message), socket.MSG_DONTWAIT)
