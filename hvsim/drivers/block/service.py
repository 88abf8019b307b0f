"""blkback's work: take requests off the ring, check them, do them, answer.

The frontend is hostile.  Every request is one private copy; every number in it is checked before
it is used, against limits that the frontend cannot change; what is wrong with a request is said
in its answer and nowhere else.  The order of answers is the order of requests, each is finished
before the next begins, so a FLUSH covers all that came before it.

Plain reads and writes whose pages are mapped already are done by the compiled batch service
where there is one; all others, and all refusals, are done here.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Final

from hvsim import shortage
from hvsim.abi.blkif import (
    BLKIF_DISCARD_SECURE,
    BLKIF_MAX_SEGMENTS_PER_REQUEST,
    BLKIF_OP_FLUSH_DISKCACHE,
    BLKIF_OP_READ,
    BLKIF_OP_WRITE,
    BLKIF_OP_WRITE_BARRIER,
    BLKIF_RSP_EOPNOTSUPP,
    BLKIF_RSP_ERROR,
    BLKIF_RSP_OKAY,
    SECTOR_SIZE,
    SECTORS_PER_PAGE,
    SEGMENTS_PER_INDIRECT_PAGE,
    Request,
    RequestDiscard,
    RequestIndirect,
    Segment,
    unpack_request,
    unpack_segments,
)
from hvsim.domain.mapper import GrantError
from hvsim.domain.ring import BackRing
from hvsim.drivers.block.image import Busy, Medium
from hvsim.drivers.block.protocol import MAX_INDIRECT_SEGMENTS, op_name, pack_response
from hvsim.drivers.block.statistics import BackStatistics
from hvsim.drivers.split.halt_poll import HaltPoll
from hvsim.drivers.split.pages import PeerPages

BATCH: Final = 16
"""Requests done between two looks at whether the frontend must be told of their answers."""

SHALLOW: Final = 2
"""Requests of a batch after which to look: who has many on their way does not wait for each."""

SPIN_NANOSECONDS: Final = 20_000
"""How long to look for the next request after a batch, when that has paid lately: a frontend that
reads one block after the other asks for the next within a few microseconds."""

_WRITES: Final = frozenset({BLKIF_OP_WRITE, BLKIF_OP_WRITE_BARRIER, BLKIF_OP_FLUSH_DISKCACHE})


class _Refused(Exception):
    """The request is answered with `status`."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Service:
    """Serves one ring from one image.

    Attributes:
        spin: looks for requests so many nanoseconds; None with the pure ring.
        serve_natively: the compiled batch service; None where all is done here.
        waits: seconds until the image, which was busy, is to be asked once more; None when no
            request waits for that.
    """

    def __init__(
        self,
        ring: BackRing,
        pages: PeerPages,
        image: Medium,
        log: Callable[[str], None],
        *,
        spins: bool = True,
    ) -> None:
        self._ring = ring
        self._pages = pages
        self._image = image
        self._log = log
        self._counted = BackStatistics()
        self.waits: float | None = None
        self._parked: bytes | None = None
        self._steps = 0  # of the parked request, that are done
        self._looks = HaltPoll(spins)
        self.spin: Callable[[int], bool] | None = getattr(ring, "spin", None)
        self.serve_natively = None
        if pages.cache is not None and image.direct:
            self.serve_natively = getattr(ring, "serve", None)

    def statistics(self) -> BackStatistics:
        """A copy of the counters."""
        counted = self._counted
        reads, writes, sectors_read, sectors_written = getattr(self._ring, "counters", (0, 0, 0, 0))
        return BackStatistics(
            requests=counted.requests,
            reads=counted.reads + reads,
            writes=counted.writes + writes,
            sectors_read=counted.sectors_read + sectors_read,
            sectors_written=counted.sectors_written + sectors_written,
            flushes=counted.flushes,
            discards=counted.discards,
            errors=counted.errors,
            unsupported=counted.unsupported,
        )

    def inherit(self, before: Service) -> None:
        """Go on where *before*, of the same ring, has stopped: with its counters, and the request
        that it had taken."""
        self._counted = before._counted
        self._parked, self.waits, self._steps = before._parked, before.waits, before._steps

    def batch(self) -> tuple[int, bool]:
        """Do a few requests and publish their answers: (how many, whether the frontend must be
        notified, which the caller does before anything else)."""
        count = self._batch()
        return count, count > 0 and self._ring.push()

    def goes_on(self, count: int) -> bool:
        """Whether there is more after a batch of *count*.  When it returns False the frontend rings
        for its next request.  Raises: BrokenByPeer."""
        if self._parked is not None:
            return False  # it is looked at again when the medium is ready
        if count and (count >= BATCH or (count <= SHALLOW and self._found_more())):
            return True  # no need to ask to be woken for what is there
        return self._ring.final_check()

    def _found_more(self) -> bool:
        """Whether the frontend's next request came while we looked for it."""
        if self.spin is None or not self._looks.due():
            return False
        if self.spin(SPIN_NANOSECONDS):
            self._looks.hit()
            return True
        self._looks.missed()
        return False

    def _batch(self) -> int:
        served = 0
        if self._parked is not None:
            raw, self._parked, self.waits = self._parked, None, None
            self._counted.requests -= 1  # counted when it came
            if not self._answer(raw):
                return 0
            served = 1
        serve = self.serve_natively
        if serve is not None:
            image = self._image
            done, odd = serve(
                self._pages.cache, image.fileno(), image.sectors, image.readonly, BATCH
            )
            self._counted.requests += done
            served += int(done)
            if odd is None:
                return served
            return served + self._answer(odd)
        while served < BATCH:
            request = self._ring.consume()
            if request is None:
                break
            if not self._answer(request):
                break
            served += 1
        return served

    # -- one request -----------------------------------------------------------------------

    def _answer(self, raw: bytes) -> bool:
        """Do the request of which `raw` is the only copy, and write its answer; False when it
        waits for the medium."""
        counted = self._counted
        counted.requests += 1
        request = unpack_request(raw)
        operation = request.operation
        if isinstance(request, RequestIndirect):
            # As in Linux, the answer names the operation inside.
            operation = request.indirect_op
        try:
            self._do(request)
            status = BLKIF_RSP_OKAY
        except Busy as busy:
            self._parked, self.waits = raw, busy.seconds
            return False  # the steps that are done are not done again
        except _Refused as refused:
            status = refused.status
            self._complain(operation, request, str(refused))
        except GrantError as failed:
            status = BLKIF_RSP_ERROR
            self._complain(operation, request, str(failed))
        except OSError as failed:
            status = BLKIF_RSP_ERROR
            full = failed.errno in (errno.ENOSPC, errno.EDQUOT)
            why = shortage.told(failed, self._image.path) if full else None
            self._complain(operation, request, why or str(failed))
        if status == BLKIF_RSP_EOPNOTSUPP:
            counted.unsupported += 1
        elif status != BLKIF_RSP_OKAY:
            counted.errors += 1
        self._steps = 0
        self._ring.produce(pack_response(request.id, operation, status))
        return True

    def _complain(
        self, operation: int, request: Request | RequestDiscard | RequestIndirect, why: str
    ) -> None:
        # Bounded: a frontend must not fill our log.
        failures = self._counted.errors + self._counted.unsupported
        if failures < 10:
            self._log(f"{op_name(operation)} at {request.sector_number}: {why}")
        elif failures == 10:
            self._log("more refused requests are not reported")

    def _do(self, request: Request | RequestDiscard | RequestIndirect) -> None:
        match request:
            case RequestDiscard():
                self._discard(request)
            case RequestIndirect():
                if request.indirect_op not in (BLKIF_OP_READ, BLKIF_OP_WRITE):
                    raise _Refused(
                        BLKIF_RSP_ERROR, f"indirect {op_name(request.indirect_op)} is none"
                    )
                if not 0 < request.nr_segments <= MAX_INDIRECT_SEGMENTS:
                    raise _Refused(
                        BLKIF_RSP_ERROR, f"bad number of segments ({request.nr_segments})"
                    )
                self._transfer(
                    request.indirect_op, request.sector_number, self._indirect_segments(request)
                )
            case _ if request.operation == BLKIF_OP_READ or request.operation in _WRITES:
                count = request.nr_segments
                may_be_empty = request.operation in (
                    BLKIF_OP_WRITE_BARRIER,
                    BLKIF_OP_FLUSH_DISKCACHE,
                )
                if count > BLKIF_MAX_SEGMENTS_PER_REQUEST or (count == 0 and not may_be_empty):
                    raise _Refused(BLKIF_RSP_ERROR, f"bad number of segments ({count})")
                self._transfer(request.operation, request.sector_number, request.segments)
            case _:
                raise _Refused(BLKIF_RSP_EOPNOTSUPP, "unknown operation")

    def _indirect_segments(self, request: RequestIndirect) -> tuple[Segment, ...]:
        count = request.nr_segments
        nr_frames = -(-count // SEGMENTS_PER_INDIRECT_PAGE)
        with self._pages.use(request.indirect_grefs[:nr_frames], write=False) as frames:
            copy = b"".join([bytes(frame) for frame in frames])
        return unpack_segments(copy, count)

    def _transfer(self, operation: int, sector: int, segments: Sequence[Segment]) -> None:
        image = self._image
        total = 0
        for segment in segments:
            if segment.first_sect > segment.last_sect or segment.last_sect >= SECTORS_PER_PAGE:
                raise _Refused(
                    BLKIF_RSP_ERROR,
                    f"segment of sectors {segment.first_sect} to {segment.last_sect}",
                )
            total += segment.last_sect - segment.first_sect + 1
        # An empty flush touches no sector: its sector number means nothing.
        if segments and (total > image.sectors or sector > image.sectors - total):
            raise _Refused(BLKIF_RSP_ERROR, f"{total} sectors from there are beyond the end")
        counted = self._counted
        if operation == BLKIF_OP_READ:
            with self._pages.use([s.gref for s in segments], write=True) as pages:
                image.read(_views(pages, segments), sector * SECTOR_SIZE)
            counted.reads += 1
            counted.sectors_read += total
            return
        if segments and image.readonly:
            raise _Refused(BLKIF_RSP_ERROR, "the disk is read-only")
        ordered = operation != BLKIF_OP_WRITE
        if ordered and self._steps == 0:
            image.flush()
            counted.flushes += 1
            self._steps = 1
        if segments:
            if self._steps < 2:
                with self._pages.use([s.gref for s in segments], write=False) as pages:
                    image.write(_views(pages, segments), sector * SECTOR_SIZE)
                counted.writes += 1
                counted.sectors_written += total
                self._steps = 2
            if ordered:
                image.flush()

    def _discard(self, request: RequestDiscard) -> None:
        image = self._image
        if not image.discard_granularity:
            raise _Refused(BLKIF_RSP_EOPNOTSUPP, "this disk cannot discard")
        if request.flag & BLKIF_DISCARD_SECURE:
            raise _Refused(BLKIF_RSP_EOPNOTSUPP, "this disk cannot discard securely")
        count = request.nr_sectors
        if count > image.sectors or request.sector_number > image.sectors - count:
            raise _Refused(BLKIF_RSP_ERROR, f"{count} sectors from there are beyond the end")
        if count:
            image.discard(request.sector_number * SECTOR_SIZE, count * SECTOR_SIZE)
        self._counted.discards += 1


def _views(pages: Sequence[memoryview], segments: Sequence[Segment]) -> list[memoryview]:
    """The parts of the pages that the (checked) segments name."""
    return [
        page[segment.first_sect * SECTOR_SIZE : (segment.last_sect + 1) * SECTOR_SIZE]
        for page, segment in zip(pages, segments, strict=True)
    ]
