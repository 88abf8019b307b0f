"""Making a fork server's memory cheap to share: where a child writes, and how often that copies.

A forked child pays for each page that it, or its parent after it, writes to.  What Python writes
most is new objects, and an allocator puts those into the holes of old pages: one object costs a
copied page, and another for the neighbour in the list of half-full pages.  So `settle` fills the
holes, once, before the first fork; new objects then come side by side on fresh pages.

It also empties the cache of attribute look-ups, of which every entry holds a name: replacing an
entry in a child drops the old name's reference count, on a page that nothing else would touch.

Measured with fifty guests this is a third of a MiB for each of them.
"""

import ctypes
import sys
from typing import Final

_POOL: Final = 16 << 10
"""Bytes of a pool of CPython's object allocator (obmalloc.c, POOL_SIZE, since 3.10)."""
_POOL_HEADER: Final = 48
_ALIGNMENT: Final = 16
_LARGEST: Final = 512
"""Objects beyond this many bytes are the C library's."""
_FRESH: Final = 3
"""So many neighbours from a pool's first block on say that the pool is a fresh one."""
_MOST_FILL: Final = 256 << 10
"""Bytes of objects of one size after which there is no fresh pool to be expected: then this is
another allocator (PYTHONMALLOC)."""

_PROBE: Final = 100_000
"""Bytes; below the C library's threshold for a mapping of its own (128 KiB, mallopt(3))."""
_MOST_PROBES: Final = 1000
_MOST_CHUNKS: Final = 100_000

_fillers: Final[list[object]] = []
"""What stands in the holes, for the life of the process."""


def settle() -> None:
    """Fill the holes of this process's heaps; call once, when all is imported.  Costs about
    10 ms and less than a MiB.  Does nothing where the allocators are others."""
    fill_pools()
    fill_heap()
    fill_pools()  # the rows that the above made
    clear = getattr(sys, "_clear_type_cache", None)
    if clear is not None:
        clear()


def fill_pools() -> int:
    """Fill every half-full pool of the object allocator; how many objects that took."""
    total = 0
    for size in range(_ALIGNMENT, _LARGEST + 1, _ALIGNMENT):
        filled = _fill_class(size)
        total += len(filled)
        _fillers.append(filled)
    return total


def _fill_class(size: int) -> list[object]:
    """Objects of `size` bytes, up to the first ones of a fresh pool; none without such pools."""
    filled: list[object] = []
    expected = 0
    in_a_row = 0
    for _ in range(_MOST_FILL // size):
        filled.append(_object_of(size))
        address = id(filled[-1])
        # A fresh pool gives out its blocks from the first on, one after the other; the first
        # alone may have been a hole.
        if address % _POOL == _POOL_HEADER:
            in_a_row = 1
        elif address == expected and in_a_row:
            in_a_row += 1
        else:
            in_a_row = 0
        if in_a_row == _FRESH:
            return filled
        expected = address + size
    return []


def _object_of(size: int) -> object:
    """A new object that takes `size` bytes, a multiple of 16, and is not known to the collector."""
    match size:
        case 16:
            return object()
        case 32:
            return float(size)
    return bytes(size - b"".__sizeof__())


def fill_heap() -> int:
    """Fill every hole of the C library's heap; how many chunks that took (0 without glibc)."""
    libc = ctypes.CDLL(None)
    try:
        malloc, free, trim, sbrk = libc.malloc, libc.free, libc.malloc_trim, libc.sbrk
    except AttributeError:
        return 0
    malloc.restype, malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
    free.restype, free.argtypes = None, (ctypes.c_void_p,)
    sbrk.restype, sbrk.argtypes = ctypes.c_void_p, (ctypes.c_ssize_t,)
    trim.argtypes = (ctypes.c_size_t,)
    trim(0)
    fresh: list[int] = []
    for _ in range(_MOST_PROBES):
        end = sbrk(0)
        fresh.append(malloc(_PROBE) or 0)
        if sbrk(0) != end:
            break
    top = fresh[-1]  # what lies above was no hole
    chunks = 0
    # Large ones first, so that few fill much; below a page every size, for each has its own list.
    for size in (65536, 32768, 16384, 8192, 4096, *range(2032, 24, -16), 24):
        while chunks < _MOST_CHUNKS:
            chunk = malloc(size)
            if not chunk:
                break
            if chunk > top:
                fresh.append(chunk)
                break
            chunks += 1
    for chunk in reversed(fresh):
        free(chunk)
    return chunks
