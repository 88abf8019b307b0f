"""/dev/xen/xenbus: the domain's xenstore for a program that speaks its wire by itself.

Each open file has a connection of its own to the store, and the program's end is a stream of bytes:
what Linux' driver queues for read(2).  A write is a request to us, since it has an errno of its
own; what is written behind the library's back is taken all the same.

What is not read is bounded: with so many bytes waiting for the program, the store is not listened
to, and with so many waiting for the store a write is not over.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hvsim.devnodes.dialogue import Dialogue, Refused
from hvsim.devnodes.node import XENBUS, Ioctl, NodeFile, Result, Write
from hvsim.wire.hearing import heard

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain
    from hvsim.domain.timers import Timer

BACKLOG: Final = 64 * 1024
"""Bytes that wait in one direction before the other is held up."""
HOLD: Final = 0.05
"""Seconds that an answer is held back; then the program is to ask again, so that its signals and
its other threads have their turn."""
RECONNECT_STEP: Final = 0.02
RECONNECT_TIMEOUT: Final = 10.0
"""Seconds that a store which has gone may be away before the file is of no more use."""
_RECV: Final = 16 * 1024


class XenbusFile(NodeFile):
    """One open file of the node.

    Args:
        path: the socket of the domain's store.

    Raises: OSError: nobody serves there.
    """

    kind = XENBUS
    socket_kind = socket.SOCK_STREAM
    readable = True

    def __init__(self, dom: Domain, on_closed: Callable[[], None], path: str) -> None:
        self._path = path
        self._store: socket.socket | None = _connect(path)
        try:
            super().__init__(dom, on_closed)
        except BaseException:
            self._store.close()
            raise
        self._dialogue = Dialogue()
        self._writer: object = None
        self._held: dict[Write, Timer] = {}
        self._unasked = bytearray()
        self._dead = False
        dom.vcpu.add_fd(self._store.fileno(), self._said)

    def knows(self, command: int) -> bool:
        return False

    def ioctl(self, call: Ioctl) -> Result:
        raise OSError(self.unknown, "no ioctl of xenbus")

    # -- the program's side ---------------------------------------------------------------------

    def write(self, write: Write) -> int | None:
        if self._dead:
            raise OSError(errno.EIO, "the store has gone")
        if write.again:
            if write.who is not self._writer:
                raise OSError(errno.EIO, "no write of this process waits")
            if not self._busy:
                return self._over(write)
        elif not self._busy:
            self._dialogue.check_size(write.size)
            if write.data is None:
                raise OSError(errno.EFAULT, "no such memory")
            with contextlib.suppress(Refused):
                self._dialogue.outcome()  # of a write whose process has gone
            self._writer = write.who
            self._dialogue.write(write.data)
            self._pump()
            if not self._busy:
                return self._over(write)
        self._held[write] = self.dom.vcpu.call_later(HOLD, lambda: self._hold_over(write))
        return None

    @property
    def _busy(self) -> bool:
        """Whether a write is not over yet, or the store or the reader must take something first."""
        full = max(len(self._dialogue.to_store), len(self._dialogue.to_reader)) > BACKLOG
        return self._dialogue.waiting or full

    def _over(self, write: Write) -> int:
        """The answer of a write whose turn has come."""
        self._writer = None
        try:
            self._dialogue.outcome()
        except Refused as refusal:
            return -refusal.errno
        return write.size

    def _hold_over(self, write: Write) -> None:
        """Held long enough: the program asks again, for its own write or to begin one."""
        del self._held[write]
        write.answer(-errno.EINPROGRESS if write.who is self._writer else -errno.EAGAIN)

    def _settle(self) -> None:
        """Answer the writes that need not wait any more."""
        if self._busy:
            return
        for write, timer in list(self._held.items()):
            timer.cancel()
            del self._held[write]
            own = write.who is self._writer
            write.answer(self._over(write) if own else -errno.EAGAIN)

    def forget(self, who: object) -> None:
        """A process has gone, perhaps in the middle of its write."""
        for write in [write for write in self._held if write.who is who]:
            self._held.pop(write).cancel()
        if who is self._writer:
            self._writer = None

    def written(self, data: bytes) -> None:
        """Bytes that came without a question; what is wrong with them cannot be said."""
        self._unasked += data
        self._pump()

    def _take_unasked(self) -> None:
        while self._unasked and not self._busy and not self._dead:
            size = self._dialogue.missing
            piece = bytes(self._unasked[:size])
            del self._unasked[:size]
            with contextlib.suppress(OSError):
                self._dialogue.write(piece)

    def room(self) -> None:
        self._pump()

    def release(self) -> None:
        for timer in self._held.values():
            timer.cancel()
        self._held.clear()
        self._dead = True
        self._hang_up()

    # -- the store's side -----------------------------------------------------------------------

    def _said(self) -> None:
        """The store has something to say, or has room."""
        assert self._store is not None
        self._pump()
        if self._store is None or len(self._dialogue.to_reader) > BACKLOG:
            return
        data = heard(self._store, _RECV)
        if data is None:
            return
        if not data:
            self._lose()
            return
        try:
            self._dialogue.heard(data)
        except ValueError as nonsense:
            self.dom.log(f"xenbus: the store says {nonsense}")
            self._lose()
            return
        self._pump()

    def _pump(self) -> None:
        """Move what there is, as far as it goes, and listen for what is still to come."""
        dialogue = self._dialogue
        self._take_unasked()
        if self._store is not None and not _move(dialogue.to_store, self._store):
            self._lose()
            return
        _move(dialogue.to_reader, self.stream)
        self.dom.vcpu.modify_fd(
            self.stream.fileno(),
            write=bool(dialogue.to_reader),
            read=len(self._unasked) <= BACKLOG,
        )
        if self._store is not None:
            self.dom.vcpu.modify_fd(
                self._store.fileno(),
                write=bool(dialogue.to_store),
                read=len(dialogue.to_reader) <= BACKLOG,
            )
        self._settle()

    def _hang_up(self) -> None:
        if self._store is not None:
            self.dom.vcpu.remove_fd(self._store.fileno())
            self._store.close()
            self._store = None

    def _lose(self) -> None:
        """The store has gone, perhaps to come back."""
        self._hang_up()
        self._dialogue.lost()
        deadline = self.dom.vcpu.now() + RECONNECT_TIMEOUT
        self.dom.vcpu.call_later(RECONNECT_STEP, lambda: self._reconnect(deadline))
        self._pump()

    def _reconnect(self, deadline: float) -> None:
        if self._dead or self._store is not None:
            return
        try:
            self._store = _connect(self._path)
        except OSError as error:
            if self.dom.vcpu.now() < deadline:
                self.dom.vcpu.call_later(RECONNECT_STEP, lambda: self._reconnect(deadline))
                return
            self._dead = True
            self.dom.log(f"xenbus: the store has not come back: {error.strerror}")
            self._dialogue.lost()
        else:
            self.dom.vcpu.add_fd(self._store.fileno(), self._said)
            self._dialogue.again()
        self._pump()


def _connect(path: str) -> socket.socket:
    """Raises OSError."""
    store = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        store.connect(path)
    except BaseException:
        store.close()
        raise
    return store


def _move(data: bytearray, sock: socket.socket) -> bool:
    """Send as much as goes; False when nobody is there."""
    while data:
        try:
            sent = sock.send(data)
        except BlockingIOError:
            return True
        except OSError:
            return False
        del data[:sent]
    return True
