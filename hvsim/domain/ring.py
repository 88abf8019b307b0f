"""The shared ring of split drivers: one page (or more), two halves, four indices.

Layout and rules are those of xen/io/ring.h.  A ring holds a power of two of slots behind a header
of 64 bytes; a slot holds a request, later the response that takes its place:

    0  req_prod    requests published by the frontend
    4  req_event   the backend wants to be woken when req_prod reaches this
    8  rsp_prod    responses published by the backend
    12 rsp_event   the frontend wants to be woken when rsp_prod reaches this

All four count freely through 32 bits.  The halves mirror each other:

    FrontRing                       BackRing
    produce(request); push()  --->  consume() -> request
    consume() -> response     <---  produce(response); push()
    final_check()                   final_check()

`push` publishes what was produced and returns whether the peer must be woken: ringing the bell is
the caller's business.  `final_check` asks to be woken and looks once more; a half that found
nothing with `consume` must get False from it before it sleeps, or a wake-up can be lost.

The peer is hostile.  Its producer index is loaded once and checked (`BrokenByPeer`), a slot is
copied once and only the copy is used, our own indices live in private memory.  Nothing here
blocks, allocates pages or makes a system call.

`FrontRing` and `BackRing` are the compiled classes of `hvsim._native` where that is built, and the
classes of this module, `PyFrontRing` and `PyBackRing`, elsewhere.
"""

from __future__ import annotations

from _thread import allocate_lock  # `threading` itself does much in every forked child
from collections.abc import Callable
from typing import TYPE_CHECKING

from hvsim import native
from hvsim.abi.ring import INDEX_MASK, SRING_RING, ring_size
from hvsim.errors import BrokenByPeer

__all__ = [
    "BackRing",
    "BrokenByPeer",
    "FrontRing",
    "PyBackRing",
    "PyFrontRing",
    "RingFull",
    "fence",
]

_REQ_PROD, _REQ_EVENT, _RSP_PROD, _RSP_EVENT = range(4)


class RingFull(Exception):
    """Nothing may be produced now: every slot is in use, or no request is left to answer."""


_barrier = allocate_lock()


def _lock_fence() -> None:
    """A full barrier in plain Python: taking a free lock is a locked instruction on x86."""
    _barrier.acquire()
    _barrier.release()


class _Half:
    """What both halves have: views of the shared words and slots, and private indices."""

    def __init__(self, page: memoryview, request_size: int, response_size: int, start: int) -> None:
        if not 0 < request_size <= 4096 or not 0 < response_size <= 4096:
            raise ValueError("a slot holds 1 to 4096 bytes")
        flat = memoryview(page).cast("B")
        if flat.readonly:
            raise BufferError("a ring needs a writable page")
        self._page = flat
        self._slot_size = max(request_size, response_size)
        self._size = ring_size(flat.nbytes, self._slot_size)
        if not self._size:
            raise ValueError("the page is too small for one slot, or not aligned")
        self._request_size = request_size
        self._response_size = response_size
        self._header = flat[:SRING_RING]
        # Items of a cast view are loaded and stored whole, never byte by byte.
        self._index = self._header[:16].cast("I")
        self._slots = flat[SRING_RING : SRING_RING + self._size * self._slot_size]
        self._mask = self._size - 1
        self._fence: Callable[[], None] = fence
        self._prod = self._published = self._cons = start & INDEX_MASK

    @property
    def size(self) -> int:
        """Number of slots."""
        return self._size

    @property
    def slot_size(self) -> int:
        """Bytes from one slot to the next."""
        return self._slot_size

    @property
    def page(self) -> memoryview:
        """A view of the shared page, for who breaks the rules; whoever takes it releases it.

        Raises: ValueError once the ring was released.
        """
        return memoryview(self._page)

    def release(self) -> None:
        """Let go of the page; a later use raises ValueError."""
        self._index.release()
        self._slots.release()
        self._header.release()
        self._page.release()

    def _store(self, data: bytes, wanted: int) -> None:
        if len(data) > wanted:
            raise ValueError(f"a slot of this ring holds {wanted} bytes")
        at = (self._prod & self._mask) * self._slot_size
        self._slots[at : at + len(data)] = data
        self._prod = (self._prod + 1) & INDEX_MASK

    def _copy(self, size: int) -> bytes:
        at = (self._cons & self._mask) * self._slot_size
        copy = bytes(self._slots[at : at + size])
        self._cons = (self._cons + 1) & INDEX_MASK
        return copy

    def _publish(self, prod: int, event: int) -> bool:
        old, fresh = self._published, self._prod
        self._index[prod] = self._published = fresh
        self._fence()
        return (fresh - self._index[event]) & INDEX_MASK < (fresh - old) & INDEX_MASK


class PyFrontRing(_Half):
    """The requesting half.  Making one initialises the shared page (SHARED_RING_INIT).

    `page` is a writable buffer of whole pages, 4-byte aligned; `request_size` and `response_size`
    are in bytes; `start` is the value that all indices begin with (tests reach the wrap with it).
    """

    def __init__(
        self, page: memoryview, request_size: int, response_size: int, *, start: int = 0
    ) -> None:
        super().__init__(page, request_size, response_size, start)
        self._header[16:] = bytes(SRING_RING - 16)
        self._index[_REQ_PROD] = self._index[_RSP_PROD] = self._prod
        self._index[_REQ_EVENT] = self._index[_RSP_EVENT] = (self._prod + 1) & INDEX_MASK

    @property
    def req_prod_pvt(self) -> int:
        """Private producer index: requests written, published or not."""
        return self._prod

    @property
    def rsp_cons(self) -> int:
        """Private consumer index: responses taken."""
        return self._cons

    @property
    def free(self) -> int:
        """Slots that may be produced into."""
        return self._size - ((self._prod - self._cons) & INDEX_MASK)

    def produce(self, request: bytes) -> None:
        """Write `request` (at most request_size bytes) into the next slot, unpublished.

        Raises RingFull when every slot is in use.
        """
        if (self._prod - self._cons) & INDEX_MASK >= self._size:
            raise RingFull("every slot of the ring is in use")
        self._store(request, self._request_size)

    def push(self) -> bool:
        """Publish what was produced; whether the backend asked to be woken for it."""
        return self._publish(_REQ_PROD, _REQ_EVENT)

    def consume(self) -> bytes | None:
        """A private copy of the next response, or None when there is none.

        Raises BrokenByPeer when the backend claims more responses than requests are out.
        """
        return self._copy(self._response_size) if self._ahead() else None

    def final_check(self) -> bool:
        """Ask to be woken for the next response; whether some came before that was seen.

        Raises BrokenByPeer as `consume` does.
        """
        if self._ahead():
            return True
        self._index[_RSP_EVENT] = (self._cons + 1) & INDEX_MASK
        self._fence()
        return self._ahead() > 0

    def _ahead(self) -> int:
        producer = self._index[_RSP_PROD]
        ahead = (producer - self._cons) & INDEX_MASK
        if ahead > (self._published - self._cons) & INDEX_MASK:
            raise BrokenByPeer(
                f"response producer index {producer} is out of range (ours is at {self._cons})"
            )
        return ahead


class PyBackRing(_Half):
    """The answering half, attached to a page that the frontend initialised (BACK_RING_ATTACH).

    `start` is where the frontend's responses have come to: 0 on a fresh ring.
    """

    def __init__(
        self, page: memoryview, request_size: int, response_size: int, *, start: int = 0
    ) -> None:
        super().__init__(page, request_size, response_size, start)

    @property
    def rsp_prod_pvt(self) -> int:
        """Private producer index: responses written, published or not."""
        return self._prod

    @property
    def req_cons(self) -> int:
        """Private consumer index: requests taken."""
        return self._cons

    def consume(self) -> bytes | None:
        """A private copy of the next request, or None when there is none.

        Raises BrokenByPeer when the frontend's index is more than a ring full beyond our answers.
        """
        return self._copy(self._request_size) if self._ahead() else None

    def produce(self, response: bytes) -> None:
        """Write `response` (at most response_size bytes) into the next slot, unpublished.

        Raises RingFull when every request that was consumed has its answer.
        """
        if self._prod == self._cons:
            raise RingFull("no request is left to be answered")
        self._store(response, self._response_size)

    def push(self) -> bool:
        """Publish what was produced; whether the frontend asked to be woken for it."""
        return self._publish(_RSP_PROD, _RSP_EVENT)

    def final_check(self) -> bool:
        """Ask to be woken for the next request; whether some came before that was seen.

        Raises BrokenByPeer as `consume` does.
        """
        if self._ahead():
            return True
        self._index[_REQ_EVENT] = (self._cons + 1) & INDEX_MASK
        self._fence()
        return self._ahead() > 0

    def _ahead(self) -> int:
        producer = self._index[_REQ_PROD]
        beyond = (producer - self._prod) & INDEX_MASK
        # Beyond our answers by more than the ring holds, or behind what was already taken.
        if beyond > self._size or beyond < ((self._cons - self._prod) & INDEX_MASK):
            raise BrokenByPeer(
                f"request producer index {producer} is out of range (ours is at {self._cons})"
            )
        return (producer - self._cons) & INDEX_MASK


fence: Callable[[], None] = _lock_fence
"""A full memory barrier."""

if TYPE_CHECKING:
    FrontRing = PyFrontRing
    BackRing = PyBackRing
else:
    _native = native.load()
    if _native is None:
        FrontRing, BackRing = PyFrontRing, PyBackRing
    else:
        _native.set_errors(BrokenByPeer, RingFull)
        fence = _native.fence
        FrontRing, BackRing = _native.FrontRing, _native.BackRing
