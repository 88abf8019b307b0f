"""Rings of bytes in a shared page: the store's two and the console's two.

A ring is *size* bytes, a power of two, from offset *at* of the page.  Its indices run freely
through 32 bits and are taken modulo the size, so that all of it can be in use.  Which index is
whose, and what is believed of the peer's, is for the four halves that stand on this.

Sources: xen/io/xs_wire.h, xen/io/console.h.
"""

from __future__ import annotations

import struct
from typing import Final

_WORD: Final = struct.Struct("@I")
"""A word that the peer changes meanwhile; read in one piece."""


def copied(page: memoryview, at: int, size: int, index: int, count: int) -> bytes:
    """The *count* bytes, at most *size*, from *index* on; the copy is what is looked at."""
    start = index & (size - 1)
    first = min(count, size - start)
    data = bytes(page[at + start : at + start + first])
    return data + bytes(page[at : at + count - first]) if count > first else data


def place(page: memoryview, at: int, size: int, index: int, data: bytes | bytearray) -> None:
    """Put *data*, at most *size* bytes, there from *index* on."""
    start = index & (size - 1)
    first = min(len(data), size - start)
    page[at + start : at + start + first] = data[:first]
    if len(data) > first:
        page[at : at + len(data) - first] = data[first:]


class IndexPage:
    """The words of a page that two processes write.

    Args:
        page: shared, writable.
    """

    def __init__(self, page: memoryview) -> None:
        self._page = page

    def word(self, offset: int) -> int:
        """The word at *offset*, loaded once."""
        value: int = _WORD.unpack_from(self._page, offset)[0]
        return value

    def put(self, offset: int, value: int) -> None:
        """Set a word of the page, in one piece: the peer sees the old or the new one."""
        # Not pack_into: it clears the word before it writes it, and the peer would see 0.
        self._page[offset : offset + 4].cast("I")[0] = value
