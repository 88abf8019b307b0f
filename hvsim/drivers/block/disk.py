"""A virtual disk as a guest's program sees it: calls that wait, and requests on their way.

It knows nothing of the store; `front.py` finds it, connects it and takes the connection away.

**Two ways to hear of an answer.**  Asleep, a domain is woken by the backend's bell, which rings
only for those who asked (the ring's final check).  A `read` that expects its answer within
microseconds looks for it on the ring instead, without asking: then the disk is not *armed*, and
must be again before anybody sleeps.  So every way to sleep, and every request that somebody may
later sleep for, arms it first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hvsim.abi.blkif import (
    BLKIF_DISCARD_SECURE,
    BLKIF_MAX_SEGMENTS_PER_REQUEST,
    BLKIF_RSP_EOPNOTSUPP,
    BLKIF_RSP_ERROR,
    SECTOR_SIZE,
    VDISK_READONLY,
)
from hvsim.drivers.block.features import spins
from hvsim.drivers.block.protocol import (
    FRONT_MAX_SEGMENTS,
    BlockClosed,
    BlockError,
    Features,
    op_name,
)
from hvsim.drivers.block.queue import RequestQueue
from hvsim.drivers.block.request import BARRIER, DISCARD, FLUSH, READ, WRITE, Request
from hvsim.drivers.split.halt_poll import HaltPoll
from hvsim.errors import BrokenByPeer, TimedOut

if TYPE_CHECKING:
    from hvsim.domain import Domain
    from hvsim.domain.ring import FrontRing
    from hvsim.drivers.block.ring import FrontConnection
    from hvsim.drivers.split.deferred import DeferredGrants

IO_TIMEOUT: Final = 600.0
"""Seconds a call waits for the backend's answer.  A stalled or restarting backend is waited for;
this bound only keeps a wait from being endless."""

SPIN_NANOSECONDS: Final = 30_000
"""How long `read` looks for its answer before it sleeps: about two wake-ups."""


class Disk:
    """One virtual disk.  Programs get it with `BlockFront.open`.

    Args:
        broken: called with why, when the backend has broken the protocol.
        closing: begins an orderly close.
        queue: requests that are kept already.
        deferred: what earlier backends hold on to.

    Attributes:
        vdev: number of the device (51712 for xvda).
        features: what the backend says of the disk.
        io_timeout: seconds that calls without a timeout of their own wait.
        connection: what is shared with the backend now; None while there is none.
        dead: why the disk takes nothing any more; None while it does.
        recovery_seconds: how long the last change of backends took.
    """

    def __init__(
        self,
        dom: Domain,
        vdev: int,
        *,
        broken: Callable[[str], None],
        closing: Callable[[], None] = lambda: None,
        queue: RequestQueue | None = None,
        deferred: DeferredGrants | None = None,
    ) -> None:
        self.vdev = vdev
        self.features = Features()
        self.io_timeout = IO_TIMEOUT
        self.connection: FrontConnection | None = None
        self.dead: BlockClosed | None = None
        self.recovery_seconds = 0.0
        self._dom = dom
        self._broken = broken
        self._closing = closing
        self._deferred = deferred
        self._queue = RequestQueue() if queue is None else queue
        self._port = -1
        self._notify = dom.events.notify
        self._connected = False
        self._armed = True
        self.halt_poll = HaltPoll(spins(dom.args))
        self._what = "the answer of a block backend"

    def __repr__(self) -> str:
        return f"<Disk {self.vdev} {self._queue.unanswered} unanswered>"

    # -- what guest programs use -----------------------------------------------------------

    @property
    def sectors(self) -> int:
        """Size in units of 512 bytes."""
        return self.features.sectors

    @property
    def sector_size(self) -> int:
        """Bytes of the smallest unit that can be written; transfers are multiples of it."""
        return self.features.sector_size

    @property
    def readonly(self) -> bool:
        """Whether writes are refused."""
        return bool(self.features.info & VDISK_READONLY)

    @property
    def connected(self) -> bool:
        """False while a backend is being waited for."""
        return self._connected

    def read(self, sector: int, nr_sectors: int) -> bytes:
        """`nr_sectors` sectors from `sector` on.

        Raises: ValueError outside the disk; BlockError; TimedOut after `io_timeout`.
        """
        request = self._begin_read(sector, nr_sectors)
        if request.status is None and not self._spun(request):
            self._wait(request, None)
        return request.result()

    def readinto(self, sector: int, buffer: bytearray | memoryview) -> None:
        """Fill `buffer` (whole sectors) from `sector` on.  Raises as `read`."""
        target = memoryview(buffer).cast("B")
        nr_sectors = self._whole_sectors(target.nbytes)
        self._check(sector, nr_sectors)
        self._send(Request(READ, sector, nr_sectors, target=target, waiter=self._wait)).wait()

    def write(self, sector: int, data: bytes | bytearray | memoryview) -> None:
        """Write `data` (whole sectors) from `sector` on.  Durable only after `flush`.

        Raises: as `read`; BlockError at once on a read-only disk.
        """
        self.submit(WRITE, sector, data=data).wait()

    def barrier(self, sector: int, data: bytes | bytearray | memoryview) -> None:
        """A write that is durable, with all before it, when this returns.  Raises as `write`,
        and BlockError(EOPNOTSUPP) when the backend has no barriers."""
        self.submit(BARRIER, sector, data=data).wait()

    def flush(self) -> None:
        """Make every write that was submitted before durable.  Raises: BlockError, TimedOut.

        With a backend that has neither flush nor barrier there is nothing to be flushed.
        """
        self.submit(FLUSH).wait()

    def discard(self, sector: int, nr_sectors: int, secure: bool = False) -> None:
        """Say that these sectors are not needed any more; they may read as zeros or not.

        Raises: as `write`, and BlockError(EOPNOTSUPP) when the backend cannot.
        """
        self.submit(DISCARD, sector, nr_sectors, secure=secure).wait()

    def submit(
        self,
        op: int,
        sector: int = 0,
        nr_sectors: int = 0,
        *,
        data: bytes | bytearray | memoryview = b"",
        secure: bool = False,
    ) -> Request:
        """Begin READ, WRITE, BARRIER, FLUSH or DISCARD and return at once.

        Any number may be on its way; more than the ring holds wait here.  `data` of a mutable
        type is copied.  Requests of one sector keep their order when one of them is a write.

        Raises: ValueError outside the disk; BlockError for what the disk cannot do; BlockClosed.
        """
        if not self._armed:
            self.look()
        if op == READ:
            return self._begin_read(sector, nr_sectors)
        features = self.features
        if op == FLUSH:
            request = Request(FLUSH, waiter=self._wait)
            if not features.flush:
                if not features.barrier:
                    request.status = 0
                    return request
                request.op = BARRIER
            return self._send(request)
        if op not in (WRITE, BARRIER, DISCARD):
            raise ValueError(f"no such operation: {op}")
        if op != DISCARD:
            nr_sectors = self._whole_sectors(len(data))
        self._check(sector, nr_sectors)
        if self.readonly:
            raise BlockError(BLKIF_RSP_ERROR, op_name(op), sector, "the disk is read-only")
        if (op == BARRIER and not features.barrier) or (op == DISCARD and not features.discard):
            raise BlockError(BLKIF_RSP_EOPNOTSUPP, op_name(op), sector)
        flag = BLKIF_DISCARD_SECURE if secure and features.discard_secure else 0
        return self._send(
            Request(op, sector, nr_sectors, data=bytes(data), flag=flag, waiter=self._wait)
        )

    def finish(self, request: Request, timeout: float) -> bytes:
        """Wait for the answer where nobody may wait: inside a handler.  Nothing else of this domain
        runs meanwhile, so that a backend that dies is not replaced either.

        Returns as ``request.result``.  Raises: BlockError; TimedOut.
        """
        vcpu = self._dom.vcpu
        deadline = vcpu.now() + timeout
        while True:
            self.look()
            if request.status is not None:
                return request.result()
            left = deadline - vcpu.now()
            if left <= 0.0 or not self._connected:
                raise TimedOut(self._what, timeout)
            vcpu.block(left, port=self._port)

    def close(self) -> None:
        """Begin an orderly close and return; later calls, and requests that the backend has not
        answered by then, raise BlockClosed.  Idempotent."""
        if self.dead is None:
            self.dead = BlockClosed("use", 0)
            self._closing()

    def statistics(self) -> dict[str, int | float]:
        """Counters: requests submitted, issued on a ring, answered, issued again after a
        backend died, failed; connections made; notifies sent; now in flight and unanswered;
        seconds the last recovery took; pages that a backend holds on to."""
        counters = self._queue.statistics
        return {
            "submitted": counters.submitted,
            "issued": counters.issued,
            "answered": counters.answered,
            "reissued": counters.reissued,
            "failed": counters.failed,
            "connections": counters.connections,
            "notifies": counters.notifies,
            "in_flight": self._queue.in_flight,
            "unanswered": self._queue.unanswered,
            "recovery_seconds": self.recovery_seconds,
            "leftover_pages": 0 if self._deferred is None else self._deferred.nr_pages,
        }

    # -- the driver's side (front.py) ----------------------------------------------------------

    def publish(self, connection: FrontConnection) -> None:
        """A backend is offered this connection; nothing is sent on it yet."""
        self.connection = connection
        self._port = connection.port

    def connect(self, features: Features, persistent: bool, ring: FrontRing) -> None:
        """The backend has taken it, and says this of the disk; *ring* is used for that of the
        connection."""
        connection = self.connection
        assert connection is not None, "published before"
        self.features = features
        read_pool, write_pool = connection.open_pools(persistent)
        segments = max(BLKIF_MAX_SEGMENTS_PER_REQUEST, features.max_indirect_segments)
        self._queue.attach(
            ring,
            read_pool,
            write_pool,
            max_segments=min(segments, FRONT_MAX_SEGMENTS),
            handle=self.vdev & 0xFFFF,
        )

    def reseat(self, ring: FrontRing) -> None:
        """Use *ring* for that of the connection from now on."""
        self._queue.reseat(ring)
        ring.push()  # what was published as something else
        self._notify(self._port)
        self._dom.vcpu.call_later(0.0, self.look)

    def start(self) -> bool:
        """Go on with the work; whether the backend must be notified."""
        assert self.connection is not None, "connected before"
        self._what = f"vbd {self.vdev}: the answer of backend domain {self.connection.peer}"
        self._connected = True
        self._armed = True
        return self._queue.start()

    def disconnect(self) -> None:
        """Give up what is shared with the backend; unanswered requests stay."""
        self._connected = False
        self._queue.detach()
        connection, self.connection = self.connection, None
        if connection is not None:
            self._what = f"vbd {self.vdev}: a new backend (domain {connection.peer} has gone)"
            connection.close()

    def bury(self, error: type[BlockClosed], why: str) -> None:
        """Nothing will be answered any more."""
        if self.dead is None:
            self.dead = error("use", 0, why)
        self._queue.fail_all(error, why)

    # -- requests --------------------------------------------------------------------------

    def _whole_sectors(self, nr_bytes: int) -> int:
        if nr_bytes % SECTOR_SIZE:
            raise ValueError(f"{nr_bytes} bytes are not whole sectors of {SECTOR_SIZE}")
        return nr_bytes // SECTOR_SIZE

    def _check(self, sector: int, nr_sectors: int) -> None:
        if sector < 0 or nr_sectors <= 0 or sector + nr_sectors > self.features.sectors:
            raise ValueError(
                f"sectors {sector}+{nr_sectors} are not on a disk of {self.features.sectors}"
            )
        unit = self.features.sector_size // SECTOR_SIZE
        if sector % unit or nr_sectors % unit:
            raise ValueError(f"{sector}+{nr_sectors} is not in units of {unit} sectors")

    def _send(self, request: Request) -> Request:
        if self.dead is not None:
            raise self._gone(request.op, request.sector)
        if self._queue.submit(request):
            self._notify(self._port)
        return request

    def _gone(self, op: int, sector: int) -> BlockClosed:
        """Why the disk takes nothing any more, as the failure of this request."""
        assert self.dead is not None
        return type(self.dead)(op_name(op), sector, str(self.dead))

    def _begin_read(self, sector: int, nr_sectors: int) -> Request:
        features = self.features
        fits = sector >= 0 and nr_sectors > 0 and sector + nr_sectors <= features.sectors
        if not fits or features.sector_size != SECTOR_SIZE:
            self._check(sector, nr_sectors)
        if self.dead is not None:
            raise self._gone(READ, sector)
        request = Request(READ, sector, nr_sectors, waiter=self._wait)
        if self._queue.submit(request):
            self._notify(self._port)
        return request

    def _spun(self, request: Request) -> bool:
        """Whether the answer came while we looked for it instead of going to sleep."""
        poll = self.halt_poll
        if not poll.due():
            return False
        if not self._queue.spin(SPIN_NANOSECONDS):
            poll.missed()
            return False
        poll.hit()
        self._armed = False
        self._take_answers(rearm=False)
        if self._queue.unanswered:
            self.look()  # somebody else waits, and asleep perhaps
        return request.status is not None

    def _wait(self, request: Request, timeout: float | None) -> None:
        if not self._armed:
            self.look()  # asks to be woken, and looks once more
        self._dom.wait(
            lambda: request.status is not None,
            self.io_timeout if timeout is None else timeout,
            self._what,
        )

    def look(self) -> None:
        """The backend rang, or we are about to sleep: look, and ask to be woken."""
        self._armed = True
        self._take_answers(rearm=True)

    def _take_answers(self, rearm: bool) -> None:
        try:
            if self._queue.complete(rearm):
                self._notify(self._port)
        except BrokenByPeer as broken:
            self._broken(str(broken))
