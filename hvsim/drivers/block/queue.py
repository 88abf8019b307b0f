"""The requests of one device, kept until they are answered; over whatever ring there is.

Recovery rests on this class.  A request is forgotten only when its answer was seen.  When the
backend goes, `detach` takes every unanswered piece back, in the order in which they were
submitted, and `attach` issues them again on the new ring before anything newer.

Two rules make that safe with any backend, also one that answers out of order:

* A piece that changes sectors is not issued while an earlier change of one of those sectors is
  unanswered.  So an unanswered write, issued again, can never overwrite a later write that was
  acknowledged.
* A FLUSH is issued when every change before it was answered, and nothing passes it.  So an
  acknowledged FLUSH covers all that was submitted before it, on whichever backend.

No I/O, no clock: `start` returns whether the backend must be notified.  The backend is hostile:
an answer must name a request that is out, once, with its operation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from hvsim.abi.blkif import (
    BLKIF_MAX_SEGMENTS_PER_REQUEST,
    BLKIF_OP_INDIRECT,
    BLKIF_RSP_ERROR,
    BLKIF_RSP_OKAY,
    SECTOR_SIZE,
    SECTORS_PER_PAGE,
    SEGMENT,
    SEGMENTS_PER_INDIRECT_PAGE,
    pack_request_discard,
    pack_request_indirect,
)
from hvsim.domain.ring import FrontRing
from hvsim.drivers.block.protocol import (
    DIRECT,
    PAGE_SIZE,
    BlockClosed,
    op_name,
    unpack_response,
)
from hvsim.drivers.block.request import CHANGES, DISCARD, FLUSH, READ, Part, Request
from hvsim.drivers.block.statistics import FrontStatistics
from hvsim.drivers.split.pool import PagePool
from hvsim.errors import BrokenByPeer

_pack_segment = SEGMENT.struct.pack
_pack_page = DIRECT[1].pack


class RequestQueue:
    """See the module.  Not thread-safe; nothing here blocks.

    Attributes:
        under_way: pieces on the ring, by the id of their request.
        ring_spin: looks for answers so many nanoseconds; None with the pure ring.
    """

    def __init__(self) -> None:
        self.statistics = FrontStatistics()
        self._waiting: deque[Part] = deque()
        self.under_way: dict[int, Part] = {}
        self._changes: dict[int, Part] = {}
        self._next_id = 0
        self._ring: FrontRing | None = None
        self.ring_spin: Callable[[int], bool] | None = None
        self._read_pool: PagePool
        self._write_pool: PagePool
        self._handle = 0
        self._max_sectors = BLKIF_MAX_SEGMENTS_PER_REQUEST * SECTORS_PER_PAGE

    @property
    def attached(self) -> bool:
        """Whether there is a ring."""
        return self._ring is not None

    @property
    def in_flight(self) -> int:
        """Pieces on the ring, unanswered."""
        return len(self.under_way)

    @property
    def unanswered(self) -> int:
        """Pieces without an answer, on the ring or not."""
        return len(self.under_way) + len(self._waiting)

    def oldest(self) -> Request | None:
        """The request that has waited longest."""
        for part in self.under_way.values():
            return part.request
        return self._waiting[0].request if self._waiting else None

    # -- connection ------------------------------------------------------------------------

    def attach(
        self,
        ring: FrontRing,
        read_pool: PagePool,
        write_pool: PagePool,
        *,
        max_segments: int,
        handle: int,
    ) -> None:
        """Use `ring` and these pools from now on; what waits is issued by the next `start`.

        `max_segments` is 11, or more with indirect descriptors.
        """
        self.reseat(ring)
        self._read_pool = read_pool
        self._write_pool = write_pool
        self._handle = handle
        self._max_sectors = max_segments * SECTORS_PER_PAGE
        self._waiting = deque(
            piece for part in self._waiting for piece in part.cut(self._max_sectors)
        )
        self.statistics.connections += 1

    def reseat(self, ring: FrontRing) -> None:
        """Use what stands before the ring, or the ring again."""
        self._ring = ring
        self.ring_spin = getattr(ring, "spin", None)

    def detach(self) -> None:
        """The ring and its pools are gone; every unanswered piece waits again, in its order."""
        self._ring = None
        if self.under_way:
            self.statistics.reissued += len(self.under_way)
            for part in self.under_way.values():
                part.pages = []
                part.indirect = []
            self._waiting.extendleft(reversed(self.under_way.values()))
            self.under_way.clear()
            self._changes.clear()

    def fail_all(self, error: type[BlockClosed], why: str) -> None:
        """No answer will come: every unanswered request fails with `error`."""
        parts = [*self.under_way.values(), *self._waiting]
        self.under_way.clear()
        self._changes.clear()
        self._waiting.clear()
        self._ring = None
        for part in parts:
            request = part.request
            name = op_name(request.op)
            self.statistics.failed += 1
            request.fail(error(name, request.sector, why))

    # -- the way out -----------------------------------------------------------------------

    def submit(self, request: Request) -> bool:
        """Take `request`; issue it if it is its turn.  Returns as `start`."""
        statistics = self.statistics
        statistics.submitted += 1
        ring = self._ring
        if (
            request.op == READ
            and request.nr_sectors <= SECTORS_PER_PAGE
            and ring is not None
            and not self._waiting
            and ring.free
            and self._read_pool.free
        ):
            # Most requests: a read of one page that fits, with nothing before it.
            self._issue_page(ring, request.only_part())
            statistics.issued += 1
            if ring.push():
                statistics.notifies += 1
                return True
            return False
        self._waiting.extend(request.split(self._max_sectors))
        return self.start()

    def start(self) -> bool:
        """Issue what is next and fits; whether the backend must be notified."""
        ring = self._ring
        waiting = self._waiting
        if ring is None or not waiting:
            return False
        issued = 0
        while waiting and ring.free and self._issue(ring, waiting[0]):
            waiting.popleft()
            issued += 1
        if not issued:
            return False
        self.statistics.issued += issued
        if ring.push():
            self.statistics.notifies += 1
            return True
        return False

    def _issue_page(self, ring: FrontRing, part: Part) -> None:
        """Write `part`, a read of at most a page, into the next slot; both have room."""
        pool = self._read_pool
        part.pages = pages = pool.take(1)
        number = self._next_id
        ring.produce(
            _pack_page(READ, 1, self._handle, number, part.sector, pool.ref(pages[0]), 0,
                       part.count - 1)
        )  # fmt: skip
        self._next_id = number + 1
        self.under_way[number] = part

    def _issue(self, ring: FrontRing, part: Part) -> bool:
        """Write `part` into the next slot; False when it must wait."""
        request = part.request
        op = request.op
        changes = self._changes
        if changes and (
            op == FLUSH or (op in CHANGES and any(part.overlaps(out) for out in changes.values()))
        ):
            return False
        number = self._next_id
        if op == READ or (part.count and op != DISCARD):
            pool = self._read_pool if op == READ else self._write_pool
            count = part.nr_pages
            if count <= BLKIF_MAX_SEGMENTS_PER_REQUEST:
                if pool.free < count:
                    return False
                part.pages = pages = pool.take(count)
                if op != READ:
                    self._fill(pool, part)
                if count == 1:
                    slot = DIRECT[1].pack(
                        op, 1, self._handle, number, part.sector, pool.ref(pages[0]), 0,
                        part.count - 1,
                    )  # fmt: skip
                else:
                    slot = DIRECT[count].pack(
                        op, count, self._handle, number, part.sector, *self._segments(pool, part)
                    )
            else:
                slot_or_none = self._indirect(pool, part, number)
                if slot_or_none is None:
                    return False
                slot = slot_or_none
        elif op == DISCARD:
            slot = pack_request_discard(self._handle, number, part.sector, part.count, request.flag)
        else:
            slot = DIRECT[0].pack(op, 0, self._handle, number, part.sector)
        ring.produce(slot)
        self._next_id = number + 1
        self.under_way[number] = part
        if op in CHANGES:
            changes[number] = part
        return True

    def _fill(self, pool: PagePool, part: Part) -> None:
        data = part.request.data
        at = part.offset
        end = at + part.count * SECTOR_SIZE
        for page in part.pages:
            piece = data[at : min(at + PAGE_SIZE, end)]
            pool.pages[page][: len(piece)] = piece
            at += PAGE_SIZE

    def _segments(self, pool: PagePool, part: Part) -> list[int]:
        """gref, first_sect, last_sect of each page, flat."""
        flat: list[int] = []
        left = part.count
        for page in part.pages:
            flat += (pool.ref(page), 0, min(left, SECTORS_PER_PAGE) - 1)
            left -= SECTORS_PER_PAGE
        return flat

    def _indirect(self, pool: PagePool, part: Part, number: int) -> bytes | None:
        frames = self._write_pool
        count = part.nr_pages
        nr_frames = -(-count // SEGMENTS_PER_INDIRECT_PAGE)
        if pool is frames:
            if pool.free < count + nr_frames:
                return None
        elif pool.free < count or frames.free < nr_frames:
            return None
        part.pages = pool.take(count)
        part.indirect = frames.take(nr_frames)
        if part.request.op != READ:
            self._fill(pool, part)
        flat = self._segments(pool, part)
        packed = b"".join([_pack_segment(*flat[at : at + 3]) for at in range(0, len(flat), 3)])
        for index, page in enumerate(part.indirect):
            piece = packed[index * PAGE_SIZE : (index + 1) * PAGE_SIZE]
            frames.pages[page][: len(piece)] = piece
        return pack_request_indirect(
            part.request.op, self._handle, number, part.sector, count,
            [frames.ref(page) for page in part.indirect],
        )  # fmt: skip

    # -- the way back ----------------------------------------------------------------------

    def spin(self, nanoseconds: int) -> bool:
        """Look for answers that long; whether there are any.  Never with the pure ring."""
        spin = self.ring_spin
        return spin is not None and self._ring is not None and bool(spin(nanoseconds))

    def complete(self, rearm: bool = True) -> bool:
        """Take every answer that is there, issue what then fits, and ask to be woken (unless
        not `rearm`: the caller looks again before it sleeps).

        Returns as `start`.  Raises: BrokenByPeer.
        """
        ring = self._ring
        if ring is None:
            return False
        consume, answer = ring.consume, self._answer
        while True:
            response = consume()
            if response is not None:
                answer(response)
            elif not rearm or not ring.final_check():
                break
        return self.start() if self._waiting else False

    def _answer(self, response: bytes) -> None:
        number, op, status = unpack_response(response)
        part = self.under_way.get(number)
        if part is None:
            raise BrokenByPeer(f"response has incorrect id ({number:#x})")
        request = part.request
        if op != request.op and not (op == BLKIF_OP_INDIRECT and part.indirect):
            raise BrokenByPeer(
                f"response has wrong operation ({op_name(op)} instead of {op_name(request.op)})"
            )
        del self.under_way[number]
        self.statistics.answered += 1
        read = request.op == READ
        if read and status == BLKIF_RSP_OKAY and request.target is None:
            pool = self._read_pool
            if pool.persistent and len(part.pages) == 1:
                # Most answers: all that a read of one page wanted.
                page = part.pages[0]
                view = pool.pages[page]
                if part.count != SECTORS_PER_PAGE:
                    view = view[: part.count * SECTOR_SIZE]
                request.complete_read(view.tobytes())
                pool.give_back(part.pages)
                return
        self._changes.pop(number, None)
        if part.pages:
            pool = self._read_pool if read else self._write_pool
            if pool.persistent:
                if read and status == BLKIF_RSP_OKAY:
                    self._collect(pool, part)
                pool.give_back(part.pages)
            else:
                pages = list(part.pages)
                # The peer must be off the pages before what is in them is looked at.
                if not pool.give_back(pages):
                    status = BLKIF_RSP_ERROR
                elif read and status == BLKIF_RSP_OKAY:
                    self._collect(pool, part)
            if part.indirect:
                self._write_pool.give_back(part.indirect)
        if status != BLKIF_RSP_OKAY:
            self.statistics.failed += 1
        request.part_done(status)

    def _collect(self, pool: PagePool, part: Part) -> None:
        if len(part.pages) == 1:
            page = pool.pages[part.pages[0]]
            data = (
                bytes(page)
                if part.count == SECTORS_PER_PAGE
                else bytes(page[: part.count * SECTOR_SIZE])
            )
        else:
            data = b"".join([pool.pages[page] for page in part.pages])
            data = data[: part.count * SECTOR_SIZE]
        self._deliver(part, data)

    def _deliver(self, part: Part, data: bytes) -> None:
        target = part.request.target
        if target is None:
            part.request.store(data)
        else:
            target[part.offset : part.offset + len(data)] = data
