"""Shared pages mapped at an address, with an end that can be relied upon.

``mmap.mmap`` cannot serve here: it keeps a duplicate of the descriptor open (a grantee has to let
go of it at unmap), refuses to close while any slice of a view lives, and cannot place scattered
pages side by side.  So pages are mapped with mmap(2) itself, and a closed mapping is gone for
certain: its view raises ValueError, and slices that somebody still holds see private zeros, never
the peer's page and never a fault.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Sequence
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE
from typing import Final

from hvsim.abi.memory import PAGE_SIZE

_MAP_FIXED: Final = 0x10
_MAP_NORESERVE: Final = 0x4000
_PROT_NONE: Final = 0

_libc = ctypes.CDLL(None, use_errno=True)
_mmap = _libc.mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]
_munmap = _libc.munmap
_munmap.restype = ctypes.c_int
_munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_FAILED: Final = ctypes.c_void_p(-1).value


def _map(address: int | None, size: int, prot: int, flags: int, fd: int, offset: int) -> int:
    result = _mmap(address, size, prot, flags, fd, offset)
    if result == _FAILED or result is None:
        number = ctypes.get_errno()
        raise OSError(number, f"mmap of {size} bytes: {os.strerror(number)}")
    return int(result)


class SharedPages:
    """Pages of one or several shared objects, side by side at one address.

    Args:
        pieces: (descriptor, page offset in it, number of pages), in order.  The descriptors are
            only used here and may be closed afterwards.
        writable: False maps for reading only; the view is read-only then.

    Attributes:
        address: where the first byte lies; 0 once closed.
        size: length in bytes.

    Raises: OSError as mmap(2) does.
    """

    __slots__ = ("__weakref__", "_exporter", "_view", "address", "size")

    def __init__(self, pieces: Sequence[tuple[int, int, int]], writable: bool = True) -> None:
        prot = PROT_READ | (PROT_WRITE if writable else 0)
        self.size = sum(pages for _, _, pages in pieces) * PAGE_SIZE
        if len(pieces) == 1:
            fd, page, _ = pieces[0]
            self.address = _map(None, self.size, prot, MAP_SHARED, fd, page * PAGE_SIZE)
        else:
            # Reserve the whole range, then lay the pieces over it.
            self.address = _map(
                None, self.size, _PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | _MAP_NORESERVE, -1, 0
            )
            try:
                at = self.address
                for fd, page, pages in pieces:
                    length = pages * PAGE_SIZE
                    _map(at, length, prot, MAP_SHARED | _MAP_FIXED, fd, page * PAGE_SIZE)
                    at += length
            except OSError:
                _munmap(self.address, self.size)
                raise
        # A ctypes array is the exporter of the buffer: it lives as long as any slice of the view
        # does, and its weak reference tells when the last one has gone.
        exporter = (ctypes.c_char * self.size).from_address(self.address)
        self._exporter: ctypes.Array[ctypes.c_char] | None = exporter
        view = memoryview(exporter).cast("B")
        self._view: memoryview | None = view if writable else view.toreadonly()

    @property
    def view(self) -> memoryview:
        """All bytes.  Raises ValueError once closed."""
        if self._view is None:
            raise ValueError("these pages are unmapped")
        return self._view

    @property
    def closed(self) -> bool:
        """Whether the pages were unmapped."""
        return self._view is None

    def close(self) -> None:
        """Unmap.  Idempotent.

        The view and everything released with it raise ValueError from now on.  A slice that is
        still alive keeps the address range, without the shared pages, until it goes.
        """
        if self._view is None:
            return
        address, size = self.address, self.size
        self._view.release()
        self._view = None
        self.address = 0
        alive = weakref.ref(self._exporter)
        self._exporter = None
        exporter = alive()
        if exporter is None:
            _munmap(address, size)
            return
        flags = MAP_PRIVATE | MAP_ANONYMOUS | _MAP_FIXED | _MAP_NORESERVE
        _map(address, size, PROT_READ | PROT_WRITE, flags, -1, 0)
        weakref.finalize(exporter, _munmap, address, size).atexit = False
