"""The daemon's end of a console ring page.  Pure: memory in, bytes out.

The guest is hostile: its index is read once, and the copy is checked.  Source: xen/io/console.h.
"""

from hvsim.abi.console import IN, IN_CONS, IN_SIZE, OUT, OUT_PROD, OUT_SIZE
from hvsim.abi.ring import INDEX_MASK
from hvsim.domain.byte_ring import copied, place
from hvsim.domain.ring import fence
from hvsim.errors import BrokenByPeer


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
        used = (self._index[3] - cons) & INDEX_MASK
        fence()
        if used > OUT_SIZE:
            raise BrokenByPeer(f"{used} bytes in a ring of {OUT_SIZE}")
        used = min(used, limit)
        data = copied(self._page, OUT, OUT_SIZE, cons, used)
        if used:
            fence()
            self._out_cons = self._index[2] = (cons + used) & INDEX_MASK
        return data

    @property
    def room(self) -> int:
        """Bytes of input that fit now.  Raises: BrokenByPeer."""
        used = (self._in_prod - self._index[0]) & INDEX_MASK
        if used > IN_SIZE:
            raise BrokenByPeer(f"{used} bytes in a ring of {IN_SIZE}")
        return IN_SIZE - used

    def put(self, data: bytes) -> None:
        """Give the guest input, which must fit (see ``room``)."""
        if not data:
            return
        prod = self._in_prod
        fence()  # the space was read free: its new content comes after
        place(self._page, IN, IN_SIZE, prod, data)
        fence()
        self._in_prod = self._index[1] = (prod + len(data)) & INDEX_MASK
