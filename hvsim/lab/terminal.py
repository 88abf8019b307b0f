"""A person's terminal: raw for a while, and always as it was afterwards.

Its descriptors are shared with the shell and with every other program that the person runs there,
their flags too.  So nothing here makes them non-blocking; the terminal is opened anew for that.

Source: termios(3), credentials(7) on job control.
"""

from __future__ import annotations

import contextlib
import os
import signal
import termios
import tty
from collections.abc import Iterator
from typing import Final

_CAREFUL: Final = 256
"""Bytes that a terminal takes without waiting when it says that it takes any (tty_poll)."""


def foreground(fd: int) -> bool:
    """Whether this process may read terminal *fd* now; yes where nobody controls that."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return True  # not our controlling terminal


def by_lines(fd: int) -> bool:
    """Whether the kernel gives what is typed at *fd* by lines; yes for what is no terminal."""
    try:
        return bool(termios.tcgetattr(fd)[3] & termios.ICANON)
    except termios.error:
        return True


class Port:
    """One direction of a person's descriptor, read or written without ever waiting.

    Args:
        fd: the person's; it stays open and as it is.
        flags: O_RDONLY or O_WRONLY.
    """

    def __init__(self, fd: int, flags: int) -> None:
        self._fd = fd
        self._own = -1
        if os.isatty(fd):
            # The near end of a pty would be another one, and a terminal may be another user's.
            with contextlib.suppress(OSError):
                path = os.ttyname(fd)
                self._own = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)

    @property
    def fd(self) -> int:
        """What to poll."""
        return self._fd if self._own < 0 else self._own

    def read(self, size: int) -> bytes | None:
        """At most *size* bytes, b"" at the end, None when there is nothing now.

        To be called when poll(2) says that there is something: where the terminal could not be
        opened anew a read may wait.
        """
        try:
            return os.read(self.fd, size)
        except BlockingIOError:
            return None
        except OSError:
            return None if not foreground(self._fd) else b""

    def write(self, data: bytes | bytearray) -> int:
        """How many bytes were taken; all of them by a descriptor that takes no more, ever."""
        piece = data if self._own >= 0 else data[:_CAREFUL]
        try:
            return os.write(self.fd, piece)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)

    def close(self) -> None:
        """Close what was opened here."""
        if self._own >= 0:
            os.close(self._own)
            self._own = -1


class Raw:
    """Terminal *fd* in raw mode: every key goes on as it is.

    Attributes:
        modes: those that it had, as ``termios.tcgetattr`` has them.

    Raises: termios.error: it is no terminal.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._raw = False
        self.modes = termios.tcgetattr(fd)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Raw within, and as it was after it, however it ends."""
        try:
            self.enter()
            yield
        finally:
            self.leave()

    def enter(self) -> None:
        """Make it raw.  In the background this stops the process until it is in the foreground
        (SIGTTOU), as for every program that wants a terminal."""
        if not self._raw:
            self.modes = termios.tcgetattr(self._fd)
            self._raw = True  # first: whatever comes between, `leave` is harmless
            tty.setraw(self._fd, termios.TCSANOW)  # what was typed ahead is kept

    def leave(self) -> None:
        """As it was.  Not DRAIN: who has stopped the output (Ctrl-S) would wait for ever."""
        if self._raw:
            self._raw = False
            if foreground(self._fd):  # else the shell has given it to somebody else
                with contextlib.suppress(termios.error):
                    termios.tcsetattr(self._fd, termios.TCSANOW, self.modes)

    def suspend(self) -> None:
        """Stop this process, as Ctrl-Z does, with the terminal as it was meanwhile."""
        self.leave()
        before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        try:
            signal.raise_signal(signal.SIGTSTP)
        finally:
            signal.signal(signal.SIGTSTP, before)
        self.resume()

    def resume(self) -> None:
        """The process goes on (SIGCONT), after whatever the shell has done to the terminal."""
        if not foreground(self._fd):
            return
        if self._raw:  # stopped by what cannot be caught: its modes are those of before still
            tty.setraw(self._fd, termios.TCSANOW)
        else:
            self.enter()


def window(fd: int) -> tuple[int, int]:
    """Rows and columns of a terminal; zeros for what has none."""
    try:
        size = os.get_terminal_size(fd)
    except OSError:
        return 0, 0
    return size.lines, size.columns
