"""The daemon's end of a console ring page.  Pure: memory in, bytes out.

The guest is hostile: its index is read once, and the copy is checked.  Source: xen/io/console.h.
"""

from typing import Final

from hvsim.abi.console import IN, IN_CONS, IN_SIZE, OUT, OUT_PROD, OUT_SIZE
from hvsim.domain.ring import fence
from hvsim.errors import BrokenByPeer

_MASK32: Final = 0xFFFF_FFFF


class ConsoleBackRing:
    """Takes output from the page and puts input into it.

    A method that moved bytes says so, and its caller rings the bell.
    """

    def __init__(self, page: memoryview) -> None:
        self._page = page
        self._index = page[IN_CONS : OUT_PROD + 4].cast("I")
        # Our own indices are kept here: the guest can write the page.
        self._in_prod = self._index[1]
        self._out_cons = self._index[2]

    def release(self) -> None:
        """Let go of the page, before it is unmapped."""
        self._index.release()

    def take(self, limit: int) -> bytes:
        """At most *limit* bytes of the guest's output; none when there are none.

        Raises: BrokenByPeer.
        """
        cons = self._out_cons
        used = (self._index[3] - cons) & _MASK32
        fence()
        if used > OUT_SIZE:
            raise BrokenByPeer(f"{used} bytes in a ring of {OUT_SIZE}")
        used = min(used, limit)
        start = cons & (OUT_SIZE - 1)
        first = min(used, OUT_SIZE - start)
        data = bytes(self._page[OUT + start : OUT + start + first])
        data += bytes(self._page[OUT : OUT + used - first])
        if used:
            fence()
            self._out_cons = self._index[2] = (cons + used) & _MASK32
        return data

    @property
    def room(self) -> int:
        """Bytes of input that fit now.  Raises: BrokenByPeer."""
        used = (self._in_prod - self._index[0]) & _MASK32
        if used > IN_SIZE:
            raise BrokenByPeer(f"{used} bytes in a ring of {IN_SIZE}")
        return IN_SIZE - used

    def put(self, data: bytes) -> None:
        """Give the guest input, which must fit (see ``room``)."""
        if not data:
            return
        prod = self._in_prod
        fence()  # the space was read free: its new content comes after
        start = prod & (IN_SIZE - 1)
        first = min(len(data), IN_SIZE - start)
        self._page[IN + start : IN + start + first] = data[:first]
        self._page[IN : IN + len(data) - first] = data[first:]
        fence()
        self._in_prod = self._index[1] = (prod + len(data)) & _MASK32
