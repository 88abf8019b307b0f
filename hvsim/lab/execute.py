"""The near end of ``hvsim exec``: a person's descriptors, terminal and signals.

When our standard input is a terminal, the program gets one of its own (pty(7)) and this process
copies between the two; other descriptors it gets as they are.  The wire, and why, are described in
``hvsim.domain.exec_process``.
"""

import contextlib
import fcntl
import os
import select
import signal
import socket
import sys
import tempfile
import termios
import tty
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hvsim import surroundings
from hvsim.lab.control import Control, ControlError
from hvsim.lab.inquiry import Inquiry
from hvsim.lab.problems import HvsimError
from hvsim.lab.rundir import RunDir
from hvsim.wire.packing import pack, unpack

ACCEPT_TIMEOUT: Final = 10.0
"""Seconds for the process, which is there already, to connect."""
PASSED_ON: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
KILLED: Final = 128 + signal.SIGKILL
_INHERITED: Final = ("TERM", "LANG", "LC_ALL", "COLUMNS", "LINES")
_COPY: Final = 1 << 16


class ExecError(HvsimError):
    """The program could not be begun."""


def execute(
    lab: RunDir, control: Control, domain: str, argv: Sequence[str], env: Mapping[str, str]
) -> int:
    """Run *argv* in *domain* with this process's descriptors; returns its exit status.

    Raises: ExecError; ControlError.
    """
    inherited = {key: os.environ[key] for key in _INHERITED if key in os.environ}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(_folder(lab)))
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        listener.bind(str(folder / "s"))
        listener.listen(1)
        listener.settimeout(ACCEPT_TIMEOUT)
        answer = control.request(
            "exec",
            domain=domain,
            argv=list(argv),
            stdio=str(folder / "s"),
            env={**inherited, **env},
            directory=surroundings.working_directory(),
        )
        if answer.exit:
            raise ExecError(answer.err.strip() or f"exec failed with {answer.exit}")
        try:
            program = stack.enter_context(listener.accept()[0])
        except TimeoutError:
            found = Inquiry(lab).trouble(lambda census: census.domain(answer.data["domid"]))
            why = "it runs" if found is None else found.text
            raise ExecError(
                f"the process of {domain} did not come for its descriptors within "
                f"{ACCEPT_TIMEOUT:g} s: {why}"
            ) from None
        return _Session(program, domain).run()


@contextlib.contextmanager
def _folder(lab: RunDir) -> Iterator[str]:
    """A directory of our own for the socket, short enough for its path, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="x", dir=lab.path) as folder:
        yield folder


class _Session:
    """One program, from its descriptors to its end."""

    def __init__(self, program: socket.socket, domain: str) -> None:
        self._program = program
        self._domain = domain
        self._status: int | None = None
        self._master = -1

    def run(self) -> int:
        """See the program through; returns its status."""
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            with _wakeups(writer), self._descriptors():
                poll = select.poll()
                poll.register(self._program, select.POLLIN)
                poll.register(reader, select.POLLIN)
                if self._master >= 0:
                    poll.register(self._master, select.POLLIN)
                    poll.register(0, select.POLLIN)
                while self._status is None:
                    for fd, _ in poll.poll():
                        self._serve(fd, reader, poll)
                self._drain_terminal()
        finally:
            os.close(reader)
            os.close(writer)
        return self._status

    def _serve(self, fd: int, reader: int, poll: "select.poll") -> None:
        if fd == self._program.fileno():
            self._listen()
        elif fd == reader:
            for number in os.read(reader, 64):
                self._pass_on(number)
        elif fd == 0:
            data = os.read(0, _COPY)
            if data:
                _write_all(self._master, data)
            else:
                poll.unregister(0)
        elif not self._copy_out():
            poll.unregister(fd)

    def _listen(self) -> None:
        try:
            data = self._program.recv(4096)
        except OSError:
            data = b""
        match unpack(data) if data else None:
            case ["exit", int(status)]:
                self._status = status
            case ["failed", int(status), str(text)]:
                print(f"hvsim exec: {text}", file=sys.stderr, flush=True)
                self._status = status
            case _:
                print(
                    f"hvsim exec: {self._domain} has ended, and the program with it",
                    file=sys.stderr,
                    flush=True,
                )
                self._status = KILLED

    def _pass_on(self, number: int) -> None:
        if number == signal.SIGWINCH:
            if self._master >= 0:
                _copy_size(0, self._master)
            return
        with contextlib.suppress(OSError):
            self._program.send(pack(["signal", number]))

    def _copy_out(self) -> bool:
        """From the program's terminal to ours; False when nobody holds its other end."""
        try:
            data = os.read(self._master, _COPY)
        except OSError:  # EIO: closed
            return False
        if data:
            surroundings.write_all(1, data)
        return bool(data)

    def _drain_terminal(self) -> None:
        """The last words, which its terminal still holds."""
        if self._master >= 0:
            os.set_blocking(self._master, False)
            while self._copy_out():
                pass

    @contextlib.contextmanager
    def _descriptors(self) -> Iterator[None]:
        """Hand the program its descriptors; our terminal is raw meanwhile."""
        if not os.isatty(0):
            self._hand_over((0, 1, 2), terminal=False)
            yield
            return
        with open(os.devnull, "rb") as null:
            self._hand_over((null.fileno(),) * 3, terminal=True)
        self._master = self._receive_terminal()
        _copy_size(0, self._master)
        saved = termios.tcgetattr(0)
        try:
            tty.setraw(0)
            yield
        finally:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)
            os.close(self._master)

    def _receive_terminal(self) -> int:
        self._program.settimeout(ACCEPT_TIMEOUT)
        try:
            data, fds, _, _ = socket.recv_fds(self._program, 4096, 1, socket.MSG_CMSG_CLOEXEC)
        except TimeoutError:
            raise ExecError(
                f"no terminal for the program in {self._domain}: it made none within "
                f"{ACCEPT_TIMEOUT:g} s"
            ) from None
        self._program.settimeout(None)
        if len(fds) == 1:
            return fds[0]
        said = unpack(data) if data else ["failed", 1, "it has gone"]
        raise ExecError(f"no terminal for the program in {self._domain}: {said[-1]}")

    def _hand_over(self, fds: Sequence[int], *, terminal: bool) -> None:
        socket.send_fds(self._program, [pack({"terminal": terminal})], list(fds))


@contextlib.contextmanager
def _wakeups(writer: int) -> Iterator[None]:
    """Signals to pass on become bytes of a pipe (signal.set_wakeup_fd)."""
    chosen = (*PASSED_ON, signal.SIGWINCH)
    before = {number: signal.signal(number, _nothing) for number in chosen}
    old = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(old)
        for number, handler in before.items():
            signal.signal(number, handler)


def _nothing(number: int, frame: Any) -> None:
    """The byte in the pipe says it."""


def _copy_size(source: int, target: int) -> None:
    with contextlib.suppress(OSError):
        size = fcntl.ioctl(source, termios.TIOCGWINSZ, bytes(8))
        fcntl.ioctl(target, termios.TIOCSWINSZ, size)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


__all__ = ["ControlError", "ExecError", "execute"]
