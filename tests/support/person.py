"""A person at a terminal, as a test has one: a pty, and a command that is started there."""

import errno
import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, Any

LIMIT = 30.0


class Person:
    """Owns a pseudo terminal.  What stands on it is in ``screen``, as far as it was looked at.

    Attributes:
        slave: the terminal itself.
        modes: those that it had at first.
    """

    def __init__(self, rows: int = 24, columns: int = 80) -> None:
        self._master, self.slave = os.openpty()
        self.resize(rows, columns)
        self.modes = termios.tcgetattr(self.slave)
        self.screen = b""

    def __enter__(self) -> "Person":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._master)
        os.close(self.slave)

    @property
    def identity(self) -> tuple[int, int]:
        """What no other file of the machine has: file system and inode of the terminal."""
        info = os.fstat(self.slave)
        return info.st_dev, info.st_ino

    @property
    def raw(self) -> bool:
        """Whether the terminal gives every key at once, without an echo."""
        return not termios.tcgetattr(self.slave)[3] & (termios.ICANON | termios.ECHO)

    def start(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        controlling: bool = True,
        streams: Sequence[int | IO[Any] | None] = (None, None, None),
    ) -> "subprocess.Popen[bytes]":
        """Start a command; each of its 0, 1, 2 for which None is given is the terminal.

        *controlling*: as from a login; else it has no controlling terminal at all.
        """

        def prepare() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if controlling:
                fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

        given = [self.slave if stream is None else stream for stream in streams]
        return subprocess.Popen(
            argv,
            env=dict(environment),
            stdin=given[0],
            stdout=given[1],
            stderr=given[2],
            start_new_session=True,
            preexec_fn=prepare,
            pass_fds=[self.slave],
        )

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def read_there(self) -> bytes:
        """What another program reads that is there; b"" when nothing comes for a while."""
        ready = select.select([self.slave], [], [], 2.0)[0]
        return os.read(self.slave, 4096) if ready else b""

    def resize(self, rows: int, columns: int) -> None:
        """Change the window."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def look(self, timeout: float = 0.0) -> bool:
        """Read what has come; whether something has."""
        if not select.select([self._master], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self._master, 1 << 16)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            data = b""
        self.screen += data
        return bool(data)

    def wait_for(self, text: bytes) -> None:
        """Until *text* stands on the screen."""
        deadline = time.monotonic() + LIMIT
        while text not in self.screen:
            assert time.monotonic() < deadline, f"no {text!r} on the screen: {self.screen!r}"
            self.look(0.1)

    def wait_end(self, process: "subprocess.Popen[bytes]") -> int:
        """Until the command has ended; its status.  The screen is whole then."""
        deadline = time.monotonic() + LIMIT
        while process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end: {self.screen!r}"
            self.look(0.05)
        while self.look():
            pass
        return process.returncode

    @property
    def lines(self) -> list[str]:
        """The screen, line by line."""
        return self.screen.replace(b"\r", b"").decode().splitlines()
