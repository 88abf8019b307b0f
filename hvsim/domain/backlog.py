"""Bytes on their way to a reader that may be slow.  Pure.

What comes too fast is lost in the middle, never at its end: the last words of whoever crashed say
why.  Where something is missing a mark says how much.
"""

from __future__ import annotations


def lost_mark(count: int, at_line_start: bool) -> bytes:
    """The line that stands where *count* bytes are missing."""
    return b"%s[%d bytes of console output lost]\n" % (b"" if at_line_start else b"\n", count)


class Backlog:
    """A bounded queue of bytes.

    The first *size* bytes wait in ``head``, in front of all others.  What comes after them goes to
    a reserve of *reserve* bytes, which keeps the newest; it follows, behind the mark for what it
    had to give up, when half of the queue has been taken.

    Attributes:
        head: what may be taken now; see :meth:`took`.
        dropped: bytes that were lost so far.
    """

    def __init__(self, size: int, reserve: int) -> None:
        self.head = bytearray()
        self.dropped = 0
        self._size = size
        self._reserve = reserve
        self._tail = bytearray()
        self._lost = 0
        self._line_start = True

    def __len__(self) -> int:
        return len(self.head) + len(self._tail)

    def add(self, data: bytes) -> None:
        """Queue *data*."""
        room = 0 if self._tail else max(0, self._size - len(self.head))
        self.head += data[:room]
        self._tail += data[room:]
        excess = len(self._tail) - self._reserve
        if excess > 0:
            del self._tail[:excess]
            self._lost += excess
            self.dropped += excess

    def took(self, count: int) -> None:
        """The first *count* bytes of ``head`` have gone."""
        if count:
            self._line_start = self.head[count - 1] == 0x0A
            del self.head[:count]
        if self._tail and len(self.head) <= self._size // 2:
            self._follow()

    def clear(self) -> None:
        """Everything is lost, and nobody is left to be told."""
        self.dropped += len(self)
        self.head.clear()
        self._tail.clear()
        self._lost = 0

    def _follow(self) -> None:
        if self._lost:
            start = self.head[-1] == 0x0A if self.head else self._line_start
            self.head += lost_mark(self._lost, start)
            self._lost = 0
        self.head += self._tail
        self._tail.clear()
