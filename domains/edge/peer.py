"""One ZeroMQ peer's connection to the toolstack."""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from hvsim.domain.timers import Timer
from hvsim.domain.vcpu import VCPU
from hvsim.wire.endpoints import MESSAGE_MAX
from hvsim.wire.frames import Frames, framed
from hvsim.wire.packing import MALFORMED, unpack

UNSENT_MAX: Final = 2 * MESSAGE_MAX
"""Bytes that are kept for the toolstack; a peer who asks for more begins anew."""
DIAL_AGAIN: Final = 0.01
"""Seconds between two attempts to reach a toolstack that does not listen."""
_PIECE: Final = 1 << 18


class Peer:
    """Made for the first request, and closed when one was answered, or lost.

    Args:
        toolstack: the socket at which that listens.
        answer: gets each message of the toolstack's.
        gone: called once, when the connection has ended.
    """

    def __init__(
        self,
        vcpu: VCPU,
        toolstack: str,
        answer: Callable[[bytes], object],
        gone: Callable[[], object],
    ) -> None:
        self._vcpu = vcpu
        self._toolstack = toolstack
        self._answer = answer
        self._gone = gone
        self._socket: socket.socket | None = None
        self._again: Timer | None = None
        self._unsent: deque[bytes] = deque()
        self._sent = 0
        self._frames = Frames()
        self._closed = False

    def send(self, message: bytes) -> None:
        """Pass a message on, as soon as the toolstack takes it."""
        self._unsent.append(framed(message))
        if sum(map(len, self._unsent)) > UNSENT_MAX:
            self.close()
        else:
            self._push()

    def close(self) -> None:
        """The toolstack takes it for the end of whatever it does for this peer.  Idempotent."""
        if not self._closed:
            self._closed = True
            self._hang_up()
            self._unsent.clear()
            if self._again is not None:
                self._again.cancel()
            self._gone()

    def _push(self) -> None:
        self._again = None
        if self._socket is None and not self._dial():
            self._again = self._vcpu.call_later(DIAL_AGAIN, self._push)
            return
        self._write()

    def _dial(self) -> bool:
        dialled = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            dialled.connect(self._toolstack)
        except OSError:
            dialled.close()
            return False
        self._socket = dialled
        self._vcpu.add_fd(dialled.fileno(), self._ready)
        return True

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._vcpu.remove_fd(self._socket.fileno())
            self._socket.close()
            self._socket = None
        # A message that did not arrive as a whole did not arrive.
        self._sent, self._frames = 0, Frames()

    def _ready(self) -> None:
        self._read()
        if self._socket is not None:
            self._write()

    def _read(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        self._frames.feed(data)
        over = False
        while (message := self._frames.take()) is not None:
            self._answer(message)
            over = _is_last(message)
        if over and not self._unsent:
            self.close()

    def _lost(self) -> None:
        self._hang_up()
        if not self._unsent:
            self.close()
        elif self._again is None:
            self._again = self._vcpu.call_later(DIAL_AGAIN, self._push)

    def _write(self) -> None:
        assert self._socket is not None
        with contextlib.suppress(OSError):  # it takes no more now, or is gone: reading tells
            while self._unsent:
                piece = memoryview(self._unsent[0])[self._sent :]
                self._sent += self._socket.send(piece, socket.MSG_NOSIGNAL)
                if self._sent == len(self._unsent[0]):
                    self._unsent.popleft()
                    self._sent = 0
        self._vcpu.modify_fd(self._socket.fileno(), write=bool(self._unsent))


def _is_last(message: bytes) -> bool:
    """Whether an answer ends with it."""
    try:
        told = unpack(message)
    except MALFORMED:
        return False
    return isinstance(told, dict) and "exit" in told
