"""One hypercall connection: a process's end of the wire, as the server holds it."""

import array
import errno
import fcntl
import select
import socket
import termios
from collections import deque
from collections.abc import Callable
from typing import Final

from hvsim.abi.hypercall import MESSAGE_MAX
from hvsim.hypervisor.dispatch import Dispatcher, Objects
from hvsim.hypervisor.domains import Process
from hvsim.wire import rights

_NOTHING: Final[Objects] = []
_BUFFER: Final = bytearray(MESSAGE_MAX + 1)
"""Shared by all connections: a request is unpacked before the next one is received."""
_VIEW: Final = memoryview(_BUFFER)
RETRY: Final = 10_000_000
"""Nanoseconds between two looks at a peer that leaves an answer with descriptors unread."""
PATIENCE: Final = 2_000_000_000
"""Nanoseconds that an answer waits for descriptors that are not to be had."""
_SHORTAGES: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ETOOMANYREFS}
)


class Connection:
    """Takes one call at a time, and no other before its answer was sent.

    A peer that does not read is not read from. One that leaves an answer *with descriptors* unread
    and calls again is not read from either until it has taken it: descriptors in flight are
    counted by the kernel for all processes of the user together, and would run out for others.

    Args:
        modify: ``epoll.modify`` for this connection.
        later: calls back after some nanoseconds.
        on_gone: called when the peer has closed its end or the connection is broken.
    """

    def __init__(
        self,
        conn: socket.socket,
        process: Process,
        dispatcher: Dispatcher,
        modify: Callable[[int, int], None],
        later: Callable[[int, Callable[[], None]], None],
        on_gone: Callable[[], None],
    ) -> None:
        self._socket = conn
        self._process = process
        self._serve = dispatcher.serve
        self._dispatcher = dispatcher
        self._modify = modify
        self._later = later
        self._on_gone = on_gone
        self._recv_into = conn.recv_into
        self._send = conn.send
        self._pending: tuple[bytes, Objects] | None = None
        self._late: deque[bytes] = deque()
        self._unread_fds = False
        self._starving = 0
        self.waiting = False
        """Whether a call was left open, to be answered later."""
        self.closed = False
        self._armed = int(select.EPOLLIN)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def on_event(self, events: int) -> None:
        """epoll says that something can be done."""
        if self._pending is not None or self._late:
            if events & (select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR):
                self._flush()
            return
        if self.waiting:
            if events & (select.EPOLLHUP | select.EPOLLERR):
                self._gone()
            else:
                self._arm(0)  # the next call waits until this one is answered
            return
        if self._unread_fds and not events & select.EPOLLHUP:
            if self._outstanding():
                self._arm(0)
                self._later(RETRY, self._look_again)
                return
            self._unread_fds = False
        try:
            size = self._recv_into(_BUFFER, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if size == 0:
            self._gone()
            return
        if size > MESSAGE_MAX:
            answer: tuple[bytes, Objects] | None = self._dispatcher.oversized(self._process)
        else:
            answer = self._serve(self._process, _VIEW[:size])
        if answer is None:
            self.waiting = True
            return
        reply, objects = answer
        if objects:
            self._pending = answer
            self._flush()
            return
        try:
            self._send(reply, socket.MSG_DONTWAIT)
        except BlockingIOError:
            self._pending = answer
            self._arm(select.EPOLLOUT)
        except OSError:
            self._gone()

    def answer(self, reply: bytes, objects: Objects) -> None:
        """Answer the call that was left open."""
        if self.waiting and not self.closed:
            self.waiting = False
            self._pending = (reply, objects)
            self._flush()

    def answer_tagged(self, reply: bytes) -> None:
        """Send the late answer to a call that had a tag, between those to others."""
        if not self.closed:
            self._process.later -= 1
            self._late.append(reply)  # bounded: by the MAX_LATER calls that may be open
            if self._pending is None:
                self._flush()

    def close(self) -> None:
        """The process is gone, or the machine ends."""
        if not self.closed:
            self.closed = True
            self._pending = None
            self._late.clear()
            self._socket.close()

    def _flush(self) -> None:
        """Send the answers that wait."""
        reading, objects = self._armed == select.EPOLLIN, _NOTHING
        try:
            if self._pending is not None:
                reply, objects = self._pending
                self._send_answer(reply, objects)
                self._pending, objects, reading = None, _NOTHING, True
                self._starving = 0
            while self._late:
                self._send(self._late[0], socket.MSG_DONTWAIT)
                self._late.popleft()
        except BlockingIOError:
            self._arm(select.EPOLLOUT)
            return
        except OSError as error:
            if objects and error.errno in _SHORTAGES:
                self._starved(error)
            else:
                self._gone()
            return
        if reading or self._armed == select.EPOLLOUT:
            self._arm(0 if self.waiting else select.EPOLLIN)

    def _send_answer(self, reply: bytes, objects: Objects) -> None:
        if not objects:
            self._send(reply, socket.MSG_DONTWAIT)
            return
        lent: list[int] = []  # made for this, and closed here
        try:
            for thing in objects:
                lent.append(thing.lend())
            rights.send(self._socket, [reply], lent, socket.MSG_DONTWAIT)
        finally:
            rights.close(lent)
        self._unread_fds = True

    def _starved(self, error: OSError) -> None:
        """There are no descriptors to be had, here or on the way, and it is not this peer's fault:
        try again, and give the call up after PATIENCE."""
        self._arm(0)
        self._starving += 1
        if self._starving * RETRY > PATIENCE:
            self._pending = self._dispatcher.starved(self._process, error)
        self._later(RETRY, self._flush_again)

    def _flush_again(self) -> None:
        if not self.closed and self._pending is not None:
            self._flush()

    def _arm(self, events: int) -> None:
        """What epoll waits for (a hang-up always)."""
        if events != self._armed:
            self._armed = events
            self._modify(self._socket.fileno(), events)

    def _outstanding(self) -> bool:
        """Whether the peer has left an answer unread."""
        count = array.array("i", [0])
        fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, count)
        return count[0] > 0

    def _look_again(self) -> None:
        if not self.closed:
            if self._outstanding():
                self._later(RETRY, self._look_again)
                return
            self._unread_fds = False
            if not self._late:
                self._arm(select.EPOLLIN)

    def _gone(self) -> None:
        if not self.closed:
            self.close()
            self._on_gone()
