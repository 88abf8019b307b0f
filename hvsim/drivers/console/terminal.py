"""The pseudo terminal of a console.

The daemon keeps both ends open, so that a client may come and go; while none reads, the newest
output waits here for the next one, behind a mark for what was older.
"""

import os
import tty
from collections.abc import Callable
from typing import Final

from hvsim.domain.backlog import lost_mark
from hvsim.domain.vcpu import VCPU

BACKLOG: Final = 64 * 1024
"""Bytes of output that wait for a reader; older output is in the log only."""


class Terminal:
    """A pty; *on_input* is called when somebody typed, and reads with :meth:`read`."""

    def __init__(self, vcpu: VCPU, on_input: Callable[[], None]) -> None:
        self._vcpu = vcpu
        self._on_input = on_input
        self._waiting = bytearray()
        self._lost = 0
        self._mark = b""
        """What is left of one that was shown in part: no output, and never lost."""
        self._master, self._slave = os.openpty()
        try:
            tty.setraw(self._slave)
            os.set_blocking(self._master, False)
            self.path: Final = os.ttyname(self._slave)
            vcpu.add_fd(self._master, self._ready)
        except BaseException:
            os.close(self._master)
            os.close(self._slave)
            raise
        self._listening = True

    def write(self, data: bytes) -> None:
        """Show *data* to whoever reads.  Never blocks."""
        self._waiting += data
        excess = len(self._waiting) - BACKLOG
        if excess > 0:
            del self._waiting[:excess]
            self._lost += excess
        self._flush()

    def read(self, limit: int) -> bytes:
        """What was typed, at most *limit* bytes."""
        try:
            return os.read(self._master, limit) if limit else b""
        except OSError:
            return b""

    def listen(self, listening: bool) -> None:
        """Whether input is wanted: no, while the guest's ring is full."""
        if self._listening != listening:
            self._listening = listening
            self._watch()

    def close(self) -> None:
        """Hang up on the client."""
        self._vcpu.remove_fd(self._master)
        os.close(self._master)
        os.close(self._slave)

    def _ready(self) -> None:
        self._flush()
        if self._listening:
            self._on_input()

    def _flush(self) -> None:
        while self._waiting:
            # The mark is made when it can be shown: until then more may be lost.
            mark = self._mark
            if not mark and self._lost:
                mark = lost_mark(self._lost, at_line_start=False)
            try:
                count = os.write(self._master, mark or self._waiting)
            except OSError:
                break
            if not mark:
                del self._waiting[:count]
                continue
            if not self._mark:
                self._lost = 0
            self._mark = mark[count:]
        self._watch()

    def _watch(self) -> None:
        self._vcpu.modify_fd(self._master, write=bool(self._waiting), read=self._listening)
