"""The pseudo terminal of a program that a person started with ``hvsim exec``.

Made in the domain, so that it has a name there.  Its near end stays in this process, which passes
on bytes: no descriptor of it reaches the person's side, where its flags could hang somebody.

Source: pty(7), termios(3), ioctl_tty(2).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from typing import Final

from hvsim.domain.vcpu import VCPU
from hvsim.wire.execution import CHUNK, Modes

_SIZE: Final = struct.Struct("4H")


class ProgramTerminal:
    """Both ends of one pseudo terminal.  The far end stays open here, so that the last words can be
    read after the program.

    Args:
        ready: called when there is something to read.
        took: called with the bytes of :meth:`write` that have found room.
        modes, size: as the person's terminal has them; what cannot be set is passed over.

    Attributes:
        slave: the far end, for the program.

    Raises: OSError: there is no terminal to be had.
    """

    def __init__(
        self,
        vcpu: VCPU,
        ready: Callable[[], None],
        took: Callable[[int], None],
        modes: Modes | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        self._vcpu = vcpu
        self._ready = ready
        self._took = took
        self._unwritten = bytearray()
        self._listening = True
        self._master, self.slave = os.openpty()
        try:
            os.set_blocking(self._master, False)
            if modes is not None:
                given: list[int | list[bytes | int]] = [*modes[:6], list(modes[6])]
                with contextlib.suppress(TypeError, ValueError, OverflowError, termios.error):
                    termios.tcsetattr(self.slave, termios.TCSANOW, given)
            if size is not None:
                self.resize(*size)
            vcpu.add_fd(self._master, self._event)
        except BaseException:
            os.close(self._master)
            os.close(self.slave)
            raise

    @property
    def unwritten(self) -> int:
        """Bytes that wait for the program to read."""
        return len(self._unwritten)

    def read(self) -> bytes:
        """What the program has written, as much as there is and a message carries."""
        try:
            return os.read(self._master, CHUNK)
        except OSError:  # nothing more, now or ever
            return b""

    def write(self, data: bytes) -> None:
        """Type *data*.  Never waits."""
        self._unwritten += data
        self._flush()

    def resize(self, rows: int, columns: int) -> None:
        """The window has another size; the program hears of it (SIGWINCH)."""
        if 0 <= rows <= 0xFFFF and 0 <= columns <= 0xFFFF:
            with contextlib.suppress(OSError):
                size = _SIZE.pack(rows, columns, 0, 0)
                fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def listen(self, listening: bool) -> None:
        """Whether output is wanted: not while what came before has not gone."""
        self._listening = listening
        self._watch()

    def close(self) -> None:
        """Hang up: whoever is left on it gets SIGHUP, and reads nothing more."""
        self._vcpu.remove_fd(self._master)
        os.close(self._master)
        os.close(self.slave)

    def _event(self) -> None:
        self._flush()
        if self._listening:
            self._ready()

    def _flush(self) -> None:
        done = 0
        while self._unwritten:
            try:
                count = os.write(self._master, self._unwritten)
            except OSError:
                break
            del self._unwritten[:count]
            done += count
        if done:
            self._took(done)
        self._watch()

    def _watch(self) -> None:
        self._vcpu.modify_fd(self._master, write=bool(self._unwritten), read=self._listening)
