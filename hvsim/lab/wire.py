"""The control wire's end at a client: messages to the toolstack and back, whoever that is by now.

A toolstack may die and come again, or not listen yet.  What was not sent by then is sent to the
next one; what the dead one had is lost, which is found out by asking (``hvsim.lab.silence``).
"""

from __future__ import annotations

# What `socket` itself stands on: that would make enums of all its constants, for longer than the
# toolstack needs for an answer.
import _socket as socket
import os
import select
import struct
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from hvsim.wire.frames import Frames, framed

if TYPE_CHECKING:
    from pathlib import Path

    from hvsim.xs.waits import Waits

DIAL_AGAIN: Final = 0.01
"""Seconds between two attempts to reach a toolstack that does not listen."""
_PIECE: Final = 1 << 18
_CREDENTIALS: Final = struct.Struct("3i")
"""struct ucred (unix(7)): pid, uid, gid."""


class Wire:
    """A connection that is made when it is needed, and again when it was lost.  Never raises.

    Args:
        waits: how it waits, where that is not as the machine does.
    """

    def __init__(self, path: Path, waits: Waits | None = None) -> None:
        self._waits = waits
        self._path = os.fspath(path)
        self._socket: socket.socket | None = None
        self._out: deque[bytes] = deque()
        self._sent = 0
        self._frames = Frames()

    def close(self) -> None:
        """Hang up; what was not sent is dropped."""
        self._lose()
        self._out.clear()

    def listener(self) -> int | None:
        """The process that listens at the other end, as the kernel knows it; None for nobody."""
        self._dial()
        if self._socket is None:
            return None
        told = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return int(_CREDENTIALS.unpack(told)[0])

    def send(self, message: bytes) -> None:
        """Send it, as soon as somebody takes it: now, or while something is waited for."""
        self._out.append(framed(message))
        self._dial()
        self._write()

    def receive(self, seconds: float) -> bytes | None:
        """The next message within *seconds*; None when none came."""
        end = self._now() + seconds
        while True:
            message = self._frames.take()
            if message is not None:
                return message
            left = end - self._now()
            if left <= 0.0:
                return None
            self._wait(left)

    def flush(self, seconds: float) -> None:
        """Let what was sent be on its way, for at most *seconds*."""
        end = self._now() + seconds
        while self._out and self._socket is not None and (left := end - self._now()) > 0.0:
            self._wait(left)

    def _wait(self, seconds: float) -> None:
        """Until something happens, at most *seconds*."""
        self._dial()
        if self._socket is None:
            pause = time.sleep if self._waits is None else self._waits.pause
            pause(min(seconds, DIAL_AGAIN))
        elif self._ready(self._socket.fileno(), seconds):
            self._read()
            self._write()

    def _ready(self, fd: int, seconds: float) -> bool:
        if self._waits is not None:
            return self._waits.ready(fd, bool(self._out), seconds)
        poll = select.poll()
        poll.register(fd, select.POLLIN | (select.POLLOUT if self._out else 0))
        return bool(poll.poll(seconds * 1000))

    def _now(self) -> float:
        return time.monotonic() if self._waits is None else self._waits.now()

    def _dial(self) -> None:
        if self._socket is not None:
            return
        dialled = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            dialled.connect(self._path)
        except OSError:  # nobody listens, or so many have knocked that no more can wait
            dialled.close()
        else:
            self._socket = dialled

    def _lose(self) -> None:
        """Whoever was there has gone.  A message that it did not get as a whole it did not get."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._sent = 0
        self._frames = Frames()

    def _read(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._frames.feed(data)
        else:
            self._lose()

    def _write(self) -> None:
        while self._out and self._socket is not None:
            try:
                self._sent += self._socket.send(
                    memoryview(self._out[0])[self._sent :], socket.MSG_NOSIGNAL
                )
            except BlockingIOError:
                return
            except OSError:
                # What it has said before it went is still to be read; reading tells of its end.
                return
            if self._sent == len(self._out[0]):
                self._out.popleft()
                self._sent = 0
