"""The wire between a process of a program and the process that stands for its kernel.

One ``SOCK_SEQPACKET`` pair for each process, made by its library, which sends one end through the
door (one byte of data, one descriptor).  One request, one answer; a request that is none, or comes
before the last answer was read, ends the connection.  ``nodes/wire.h`` has the same in C.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from hvsim.abi.layout import Layout

REQUEST: Final = Layout(
    "struct request",
    [("op", "I"), ("flags", "I"), ("file", "Q"), ("a", "Q"), ("b", "Q"), ("c", "Q"), ("d", "Q")],
)
"""Followed by the bytes of an ioctl's argument, as many as its number says."""
REPLY: Final = Layout(
    "struct reply", [("result", "q"), ("area", "Q"), ("address", "Q"), ("count", "Q")]
)
"""Followed by what goes back into the argument, or by rows."""
ROW: Final = Layout("struct row", [("fd", "I"), ("page", "I")])
"""Where a page is: which descriptor of this answer, which page of it."""

ATTACH: Final = b"A"
MAX_MESSAGE: Final = 64 * 1024
MAX_ROWS: Final = 4096
MAX_FDS: Final = 240
"""Descriptors of one answer."""
NO_PAGE: Final = 0xFFFFFFFF
"""A row of a page that is not there."""
BAD_ARGUMENT: Final = 1
"""Flag of a request: the argument lies where nothing is."""


class Op(IntEnum):
    """What is asked for, with the meaning of a, b, c, d."""

    OPEN = 1
    """(node) -> file, with its descriptor"""
    FIND = 2
    """(file): is it one of ours? -> node"""
    IOCTL = 3
    """(file; command, address of the argument) -> result; an area to be placed, perhaps"""
    MMAP = 4
    """(file; address, length in bytes, protection, offset) -> area"""
    PAGES = 5
    """(area, first, count) -> rows"""
    MUNMAP = 6
    """(area, first, count)"""
    PROC = 7
    """(which file of /proc/xen) -> its descriptor"""
    WRITE = 8
    """(file; whether it is asked again, -, bytes in all) and the bytes, unless they are more than
    there may be -> bytes, or -EINPROGRESS: ask again for the end of it; -EAGAIN: try again, another
    process's write is not over"""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, taken apart."""

    op: int
    flags: int
    file: int
    a: int
    b: int
    c: int
    d: int
    data: bytes

    @classmethod
    def parse(cls, message: bytes) -> Request:
        """Raises struct.error for one that is too short."""
        op, flags, file, a, b, c, d = REQUEST.unpack(message[: REQUEST.size])
        return cls(op, flags, file, a, b, c, d, message[REQUEST.size :])
