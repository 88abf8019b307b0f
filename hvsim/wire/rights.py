"""Descriptors over Unix sockets: the one place that sends and receives them.

The standard library's ``send_fds`` and ``recv_fds`` drop the flags that they are given, so that
what comes is inherited by the next program, and a send that must not wait does.  Here

* what comes is close-on-exec from its first moment (MSG_CMSG_CLOEXEC);
* more than was agreed, or fewer than were sent, is an error, and what did come is closed: a
  descriptor that nobody knows of is open for ever;
* so is a message that is longer than its buffer.

Lint and ``tests/repository/test_descriptors.py`` keep it the only one.

Source: unix(7), recvmsg(2), cmsg(3).
"""

from __future__ import annotations

import array
import errno
import os
import socket
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

MAX: Final = 253
"""SCM_MAX_FD: the kernel passes no more descriptors in one message."""
_SIZE: Final = array.array("i").itemsize
_LOST: Final = socket.MSG_TRUNC | socket.MSG_CTRUNC


class Truncated(OSError):
    """A message that did not come whole; nothing of it is left open.

    ``errno`` is EMSGSIZE for one that is longer than its buffer, EMFILE for one whose descriptors
    are more than were agreed, or more than this process may open.
    """


def send(
    sock: socket.socket, parts: Sequence[ReadableBuffer], fds: Iterable[int], flags: int = 0
) -> int:
    """Send *parts* as one message with copies of *fds*; returns the bytes that were taken.

    Raises: OSError, as ``sendmsg(2)``: BlockingIOError with MSG_DONTWAIT, ETOOMANYREFS when too
        many are in flight, EINVAL for more than :data:`MAX`.
    """
    rights = array.array("i", fds)
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if rights else []
    return sock.sendmsg(parts, ancillary, flags | socket.MSG_NOSIGNAL)


def receive(sock: socket.socket, size: int, most: int, flags: int = 0) -> tuple[bytes, list[int]]:
    """One message of at most *size* bytes with at most *most* descriptors, which are the caller's
    to close; empty at the end.

    Raises: Truncated; OSError, as ``recvmsg(2)``.
    """
    buffer = bytearray(size)
    length, fds = receive_into(sock, buffer, most, flags)
    return bytes(memoryview(buffer)[:length]), fds


def receive_into(
    sock: socket.socket, buffer: WriteableBuffer, most: int, flags: int = 0
) -> tuple[int, list[int]]:
    """As :func:`receive`, into *buffer*; returns the bytes that came, and the descriptors."""
    # LEN and not SPACE: the padding behind an odd number would let one more in.
    room = socket.CMSG_LEN(most * _SIZE)
    length, ancillary, said, _ = sock.recvmsg_into([buffer], room, flags | socket.MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.extend(memoryview(data[: len(data) - len(data) % _SIZE]).cast("i"))
    if said & _LOST or len(fds) > most:
        close(fds)
        if said & socket.MSG_TRUNC:
            raise Truncated(errno.EMSGSIZE, "a message longer than was agreed")
        raise Truncated(
            errno.EMFILE, f"a message with more than {most} descriptors, or than may be open here"
        )
    return length, fds


def close(fds: Iterable[int]) -> None:
    """Close descriptors that nobody wants."""
    for fd in fds:
        os.close(fd)
