"""The memory of the process that made a call, as a kernel sees it."""

from __future__ import annotations

import ctypes
import errno
import struct
from typing import Final

from hvsim.linux import syscalls

_IOVEC: Final = struct.Struct("=2Q")
MAX_COPY: Final = 1 << 22
"""Bytes of one copy.  More is EFAULT; it would be 174762 segments of a GRANT_COPY."""


class Caller:
    """A process, by its number in our own process namespace.

    Source: process_vm_readv(2); it must be a process that we may trace, as our children are.
    """

    __slots__ = ("pid",)

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def read(self, address: int, size: int) -> bytes:
        """copy_from_user.  Raises OSError(EFAULT)."""
        _check(address, size)
        buffer = ctypes.create_string_buffer(size or 1)
        self._move("process_vm_readv", address, buffer, size)
        return buffer.raw[:size]

    def write(self, address: int, data: bytes) -> None:
        """copy_to_user.  Raises OSError(EFAULT)."""
        _check(address, len(data))
        buffer = ctypes.create_string_buffer(data, len(data) or 1)
        self._move("process_vm_writev", address, buffer, len(data))

    def _move(
        self, call: str, address: int, buffer: ctypes.Array[ctypes.c_char], size: int
    ) -> None:
        if not size:
            return
        ours = ctypes.create_string_buffer(_IOVEC.pack(ctypes.addressof(buffer), size))
        theirs = ctypes.create_string_buffer(_IOVEC.pack(address, size))
        try:
            moved = syscalls.syscall(
                call, self.pid, ctypes.addressof(ours), 1, ctypes.addressof(theirs), 1, 0
            )
        except OSError as error:
            raise OSError(errno.EFAULT, f"{call}: {error.strerror}") from None
        if moved != size:
            raise OSError(errno.EFAULT, "partly no memory")


def _check(address: int, size: int) -> None:
    if size and (size > MAX_COPY or not 0 < address < 1 << 63):
        raise OSError(errno.EFAULT, "no such memory")
