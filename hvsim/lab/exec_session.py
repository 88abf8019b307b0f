"""One program in a domain, as the person who started it sees it: bytes, signals, its end.

Nothing here waits but in one poll(2), and whatever the domain's side does or leaves undone, the
person's terminal is as it was afterwards.  The wire is ``hvsim.wire.execution``'s.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Final

from hvsim.lab.keys import Keys
from hvsim.lab.terminal import Port, Raw, by_lines, foreground, window
from hvsim.wire import execution
from hvsim.wire.execution import (
    CHUNK,
    MESSAGE_MAX,
    WINDOW,
    Exited,
    Failed,
    Resized,
    Shown,
    Signalled,
    Took,
    Typed,
)
from hvsim.wire.typed import BadMessage, Word

_Interests = dict[int, tuple[int, Callable[[], object]]]
"""What to wait for, and what is done then."""

PASSED_ON: Final = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip
ENDING: Final = (signal.SIGTERM, signal.SIGHUP)
"""After one of these the program has GRACE seconds."""
GRACE: Final = 10.0
INTERRUPTS: Final = 3
"""So many SIGINT within INTERRUPT_TIME seconds, and the person means it."""
INTERRUPT_TIME: Final = 2.0
OTHERS_LOOK: Final = 0.3
"""Seconds between two looks whether what is typed is ours to read again."""
LAST_WORDS: Final = 256 * 1024
"""Bytes of a pipe that are shown after the program's end; what it left running may write on."""
KILLED: Final = 128 + signal.SIGKILL
_SIGNALLED: Final = 128


@dataclass
class Outflow:
    """Bytes on their way to one of the person's descriptors.

    Attributes:
        source: our end of the program's pipe; -1 when they come over the wire, or its end was seen.
    """

    port: Port
    source: int = -1
    pending: bytearray = field(default_factory=bytearray)

    def pull(self) -> int:
        """Take what the pipe holds; 0 when nothing is there now, or ever."""
        try:
            data = os.read(self.source, CHUNK)
        except BlockingIOError:
            return 0
        if not data:
            self.end()
        self.pending += data
        return len(data)

    def push(self) -> None:
        """Show what can be shown now."""
        while self.pending:
            count = self.port.write(self.pending)
            if not count:
                return
            del self.pending[:count]

    def end(self) -> None:
        """Close our end of the pipe."""
        if self.source >= 0:
            os.close(self.source)
            self.source = -1


@dataclass
class Inflow:
    """What is typed, on its way to the program.

    Attributes:
        sink: our end of the program's pipe; -1 when it goes over the wire.
        keys: for a terminal in raw mode.
        credit: bytes that the other side of the wire has room for.
    """

    port: Port
    fd: int
    sink: int = -1
    keys: Keys | None = None
    credit: int = WINDOW
    pending: bytes = b""
    open: bool = True
    look_again: float = 0.0

    def end(self) -> None:
        """Nothing more is read; the program finds the end of its pipe."""
        self.open = False
        self.pending = b""
        if self.sink >= 0:
            os.close(self.sink)
            self.sink = -1


@dataclass(frozen=True)
class Outcome:
    """How it ended: the exit status, and what the person is to be told when that is not all."""

    status: int
    text: str = ""


class Session:
    """From the hand-over to the end.  ``run()`` once.

    Args:
        program: the connection to the process in the domain; blocking or not.
        domain: what the person calls it.
        raw: the terminal that is to be raw meanwhile.
        screen: the terminal whose window is the program's, -1 without one.
    """

    def __init__(
        self,
        program: socket.socket,
        domain: str,
        inflow: Inflow | None,
        outflows: Sequence[Outflow],
        raw: Raw | None,
        screen: int,
    ) -> None:
        self._program = program
        self._domain = domain
        self._in = inflow
        self._outs = outflows
        self._shown = next((out for out in outflows if out.source < 0), None)
        self._raw = raw
        self._screen = screen
        self._unsent: deque[bytes] = deque()
        self._outcome: Outcome | None = None
        self._ending: tuple[float, int] | None = None
        self._interrupts: list[float] = []

    def run(self) -> Outcome:
        """See the program through.  Raises: OSError from the person's own terminal."""
        self._program.setblocking(False)
        with contextlib.ExitStack() as stack:
            self._wake = stack.enter_context(_wakeups(self._raw is not None))
            if self._raw is not None:
                stack.enter_context(self._raw.held())
            if self._screen >= 0:
                self._send(Resized(*window(self._screen)))
            while self._outcome is None:
                self._turn()
            self._last_words()
        return self._outcome

    # -- one turn ------------------------------------------------------------------------------

    def _turn(self) -> None:
        handlers = self._interests()
        for fd, _ in self._poll_once(handlers):
            handlers[fd][1]()
            if self._outcome is not None:
                return
        self._times()

    def _interests(self) -> _Interests:
        """What to wait for.  A descriptor that is not to be read now is not polled at all: poll(2)
        would report its hang-up for ever."""
        found: _Interests = {self._wake: (select.POLLIN, self._signalled)}
        if self._shown is None or not self._shown.pending:
            events = select.POLLIN | (select.POLLOUT if self._unsent else 0)
            found[self._program.fileno()] = (events, self._heard)
        for out in self._outs:
            if out.pending:
                found[out.port.fd] = (select.POLLOUT, out.push)
            elif out.source >= 0:
                found[out.source] = (select.POLLIN, out.pull)
        typed = self._in
        if typed is not None and typed.open:
            if typed.pending:
                if typed.sink >= 0:
                    found[typed.sink] = (select.POLLOUT, self._pour)
            elif typed.credit >= CHUNK and time.monotonic() >= typed.look_again:
                found[typed.port.fd] = (select.POLLIN, self._typed)
        return found

    def _poll_once(self, handlers: _Interests) -> list[tuple[int, int]]:
        poll = select.poll()
        for fd, (events, _) in handlers.items():
            poll.register(fd, events)
        now = time.monotonic()
        times = [] if self._ending is None else [self._ending[0]]
        if self._in is not None and self._in.open and self._in.look_again > now:
            times.append(self._in.look_again)
        return poll.poll(max(0.0, min(times) - now) * 1000 + 1 if times else None)

    def _times(self) -> None:
        if self._ending is not None and time.monotonic() >= self._ending[0]:
            name = signal.Signals(self._ending[1]).name
            self._end(
                _SIGNALLED + self._ending[1],
                f"the program did not end within {GRACE:g} s of {name}: it is killed",
            )

    def _end(self, status: int, text: str = "") -> None:
        if self._outcome is None:
            self._outcome = Outcome(status, text)

    # -- the program ---------------------------------------------------------------------------

    def _heard(self) -> None:
        self._flush()
        data = self._receive()
        if data is None:
            return
        if not data:
            self._end(KILLED, f"{self._domain} has ended, and the program with it")
            return
        try:
            message = execution.from_program(data)
        except BadMessage:
            self._end(
                KILLED,
                f"what came from {self._domain} is no message of hvsim exec: it is cut off",
            )
            return
        match message:
            case Shown(data=shown):
                if self._shown is not None:
                    self._shown.pending += shown
                    self._shown.push()
            case Took(count=count):
                if self._in is not None:
                    self._in.credit = min(self._in.credit + count, WINDOW)
            case Exited(status=status):
                self._end(status)
            case Failed(status=status, text=text):
                self._end(status, text)

    def _receive(self) -> bytes | None:
        """A message; b"" when nobody is there any more, None when nothing has come."""
        for _ in range(2):
            try:
                return self._program.recv(MESSAGE_MAX + 1)
            except BlockingIOError:
                return None
            except ConnectionResetError:
                continue  # it left something of ours unread; what it said before comes after that
            except OSError:
                break
        return b""

    def _send(self, message: Word) -> None:
        self._unsent.append(execution.packed(message))
        self._flush()

    def _flush(self) -> None:
        while self._unsent:
            try:
                self._program.send(self._unsent[0])
            except BlockingIOError:
                return
            except OSError:
                self._unsent.clear()  # it has gone, and says so where we read
                return
            self._unsent.popleft()

    # -- the person ----------------------------------------------------------------------------

    def _typed(self) -> None:
        typed = self._in
        assert typed is not None
        # Who has put the terminal into another mode (`| less`) reads the keys that are typed now.
        others = typed.keys is None and not by_lines(typed.fd)
        data = None if others or not foreground(typed.fd) else typed.port.read(CHUNK)
        if data is None:
            typed.look_again = time.monotonic() + OTHERS_LOOK
            return
        if not data:
            typed.end()
        elif typed.keys is not None:
            data = typed.keys.feed(data)
            if typed.keys.hung_up:
                self._end(_SIGNALLED + signal.SIGHUP, "hung up (~.)")
        if data and typed.sink >= 0:
            typed.pending = data
            self._pour()
        elif data:
            typed.credit -= len(data)
            self._send(Typed(data))

    def _pour(self) -> None:
        """Into the program's pipe."""
        typed = self._in
        assert typed is not None
        try:
            while typed.pending:
                typed.pending = typed.pending[os.write(typed.sink, typed.pending) :]
        except BlockingIOError:
            pass
        except OSError:  # nobody reads it any more
            typed.end()

    def _signalled(self) -> None:
        for number in os.read(self._wake, 64):
            if number == signal.SIGWINCH:
                if self._screen >= 0:
                    self._send(Resized(*window(self._screen)))
            elif number == signal.SIGTSTP:
                if self._raw is not None:
                    self._raw.suspend()
            elif number == signal.SIGCONT:
                self._resumed()
            else:
                self._pass_on(number)

    def _resumed(self) -> None:
        if self._raw is not None:
            self._raw.resume()
        if self._screen >= 0:
            self._send(Resized(*window(self._screen)))
        if self._in is not None:
            self._in.look_again = 0.0

    def _pass_on(self, number: int) -> None:
        self._send(Signalled(number))
        now = time.monotonic()
        if number in ENDING and self._ending is None:
            self._ending = (now + GRACE, number)
        if number == signal.SIGINT:
            self._interrupts = [at for at in self._interrupts if now - at < INTERRUPT_TIME] + [now]
            if len(self._interrupts) >= INTERRUPTS:
                self._end(_SIGNALLED + number, f"interrupted {INTERRUPTS} times: it is killed")

    # -- the end -------------------------------------------------------------------------------

    def _last_words(self) -> None:
        """Show what the program has left in its pipes, until that is done or a signal comes."""
        for out in self._outs:
            left = LAST_WORDS
            while out.source >= 0 and left > 0 and (count := out.pull()):
                left -= count
            out.push()
        while any(out.pending for out in self._outs):
            handlers: _Interests = {
                out.port.fd: (select.POLLOUT, out.push) for out in self._outs if out.pending
            }
            handlers[self._wake] = (select.POLLIN, lambda: None)
            for fd, _ in self._poll_once(handlers):
                if fd == self._wake and set(os.read(fd, 64)) & {*PASSED_ON}:
                    return
                handlers[fd][1]()


@contextlib.contextmanager
def _wakeups(raw: bool) -> Iterator[int]:
    """Signals become bytes of the pipe whose reading end this yields (signal.set_wakeup_fd).

    Ctrl-Z stops this process by itself unless the terminal is raw.  Nothing that is read in the
    background stops it (SIGTTIN); the reading is refused instead.
    """
    chosen = [*PASSED_ON, signal.SIGWINCH, signal.SIGCONT, *([signal.SIGTSTP] if raw else [])]
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    old = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    before = {number: signal.signal(number, _nothing) for number in chosen}
    before[signal.SIGTTIN] = signal.signal(signal.SIGTTIN, signal.SIG_IGN)
    try:
        yield reader
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(old)
        os.close(reader)
        os.close(writer)


def _nothing(number: int, frame: FrameType | None) -> None:
    """The byte in the pipe says it."""
