"""rtnetlink, as much of it as a domain needs: one request, one answer, errors as OSError.

Why not a library: pyroute2 runs an asyncio loop, whose wake-up pipe the walls of a domain refuse
(it switches descriptors with FIONBIO), and its import costs a domain 100 ms and more memory than a
whole guest has.  Sources: linux/netlink.h, linux/rtnetlink.h, linux/if_link.h; rtnetlink(7).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Final

NLM_F_REQUEST: Final = 0x001
NLM_F_ACK: Final = 0x004
NLM_F_EXCL: Final = 0x200
NLM_F_CREATE: Final = 0x400
NLM_F_REPLACE: Final = 0x100
NLM_F_DUMP: Final = 0x300
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3

RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_GETLINK: Final = 18
RTM_NEWADDR: Final = 20
RTM_NEWROUTE: Final = 24
RTM_SETNEIGHTBL: Final = 67

_BUFFER: Final = 1 << 16

_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_NESTED: Final = 0x8000

Attribute = tuple[int, "bytes | list[Attribute]"]


def pack(attributes: Iterable[Attribute]) -> bytes:
    """``struct rtattr`` after ``struct rtattr``, each padded to 4 bytes; a list nests."""
    parts = []
    for kind, value in attributes:
        if isinstance(value, list):
            kind, value = kind | _NESTED, pack(value)
        size = _ATTRIBUTE.size + len(value)
        parts += [_ATTRIBUTE.pack(size, kind), value, bytes(-size % 4)]
    return b"".join(parts)


def unpack(data: bytes) -> dict[int, bytes]:
    """The attributes of an answer, by type; of several with one type, the last."""
    found = {}
    while len(data) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(data)
        if not _ATTRIBUTE.size <= size <= len(data):
            break
        found[kind & ~_NESTED] = data[_ATTRIBUTE.size : size]
        data = data[size + -size % 4 :]
    return found


def text(value: str) -> bytes:
    """A name as the kernel wants it."""
    return value.encode() + b"\0"


def u32(value: int) -> bytes:
    """A number as the kernel wants it."""
    return struct.pack("=I", value)


class Netlink:
    """A connection to the kernel's NETLINK_ROUTE, in the network namespace of this process."""

    def __init__(self) -> None:
        """Raises OSError: the walls or the kernel refuse such a socket."""
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._sequence = 0

    def close(self) -> None:
        """Close the socket.  Idempotent."""
        self._socket.close()

    def do(self, kind: int, body: bytes, flags: int = 0, what: str = "netlink") -> None:
        """Have something done.  Raises OSError with the kernel's errno; *what* names it."""
        for _ in self._ask(kind, body, flags | NLM_F_ACK, what):
            pass

    def get(self, kind: int, body: bytes, flags: int = 0, what: str = "netlink") -> list[bytes]:
        """Ask for something; returns the bodies of the answers.  Raises OSError."""
        return list(self._ask(kind, body, flags | (0 if flags & NLM_F_DUMP else NLM_F_ACK), what))

    def _ask(self, kind: int, body: bytes, flags: int, what: str) -> Iterator[bytes]:
        self._sequence += 1
        size = _HEADER.size + len(body)
        header = _HEADER.pack(size, kind, flags | NLM_F_REQUEST, self._sequence, 0)
        self._socket.send(header + body)
        while True:
            data = self._receive(what)
            while len(data) >= _HEADER.size:
                size, answer, _, sequence, _ = _HEADER.unpack_from(data)
                content, data = data[_HEADER.size : size], data[size + -size % 4 :]
                if sequence != self._sequence:
                    continue  # of a request that was given up
                if answer == NLMSG_DONE:
                    return
                if answer == NLMSG_ERROR:
                    number = -struct.unpack("=i", content[:4])[0]
                    if number:
                        raise OSError(number, f"{what}: {os.strerror(number)}")
                    return
                yield content

    def _receive(self, what: str) -> bytes:
        # rtnetlink answers within the send: what is not there now does not come.
        try:
            return self._socket.recv(_BUFFER)
        except BlockingIOError:
            raise OSError(errno.EPROTO, f"{what}: no answer of the kernel") from None
