"""blkfront: a virtual disk for the programs of a guest.

    disk = BlockFront.open(dom, "xvda")
    disk.write(0, b"x" * 4096)
    disk.flush()
    assert disk.read(0, 8) == b"x" * 4096

Sectors are 512 bytes.  Calls wait inside the domain's one loop, so the guest's other devices and
its shutdown go on meanwhile; they may not be made inside a handler.

The handshake is that of Linux' blkfront: rings, port and features in one transaction, then state
Initialised; properties are read when the backend is Connected, then Connected here.

**When the backend dies**, calls simply wait.  Once the toolstack has pointed the device at a new
backend, the driver connects to it and issues every unanswered request again, in order (see
queue.py for what makes that safe).  A backend that breaks the protocol is not talked to again:
its device fails every request with BlockBroken, and the domain lives on.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from hvsim.abi.blkif import (
    BLKIF_DISCARD_SECURE,
    BLKIF_MAX_SEGMENTS_PER_REQUEST,
    BLKIF_RSP_EOPNOTSUPP,
    BLKIF_RSP_ERROR,
    SECTOR_SIZE,
    VDISK_READONLY,
)
from hvsim.abi.xenbus import XEN_IO_PROTO_ABI_NATIVE, XenbusState
from hvsim.domain.ring import RingBroken
from hvsim.domain.vcpu import WaitTimeout
from hvsim.domain.xenbus.state import FrontendReaction, frontend_reaction
from hvsim.drivers.block.connection import Connection, Leftovers
from hvsim.drivers.block.protocol import (
    FRONT_MAX_SEGMENTS,
    MAX_RING_PAGE_ORDER,
    MAX_SECTORS,
    BlockBroken,
    BlockClosed,
    BlockError,
    Features,
    ProtocolViolation,
    op_name,
    sabotages,
    vdev_number,
)
from hvsim.drivers.block.queue import RequestQueue
from hvsim.drivers.block.request import BARRIER, DISCARD, FLUSH, READ, WRITE, Request

if TYPE_CHECKING:
    from hvsim.domain import Domain
    from hvsim.domain.xenbus.device import FrontendDevice

IO_TIMEOUT: Final = 600.0
"""Seconds a call waits for the backend's answer.  A stalled or restarting backend is waited for;
this bound only keeps a wait from being endless."""

SPIN_NANOSECONDS: Final = 30_000
"""How long `read` looks for its answer before it sleeps: about two wake-ups."""

_PROPERTIES: Final = (
    "sectors", "info", "sector-size", "physical-sector-size", "feature-barrier",
    "feature-flush-cache", "feature-discard", "discard-granularity", "discard-alignment",
    "discard-secure", "feature-persistent", "feature-max-indirect-segments",
)  # fmt: skip


class BlockFront:
    """One virtual disk.  Get it with `BlockFront.open`; the bus makes it.

    Attributes:
        features: what the backend says of the disk.
        vdev: number of the device (51712 for xvda).
        io_timeout: seconds that calls without a timeout of their own wait.
    """

    def __init__(self, dom: Domain, disks: dict[int, BlockFront]) -> None:
        self.features = Features()
        self.vdev = -1
        self.io_timeout = IO_TIMEOUT
        self._dom = dom
        self._disks = disks
        self._device: FrontendDevice | None = None
        self._connection: Connection | None = None
        self._leftovers = Leftovers(dom)
        self._queue = RequestQueue()
        self._dead: BlockClosed | None = None
        self._port = -1
        self._notify = dom.events.notify
        self._connected = False
        self._armed = True
        self._spin_pause = 0
        self._spin_misses = 0
        self._what = "the answer of a block backend"
        options = dom.args.get("vbd")
        self._options: dict[str, object] = options if isinstance(options, dict) else {}
        self._forgets = "forget-unanswered" in sabotages(dom.args)
        self._moved_at: float | None = None
        self._last_recovery = 0.0

    # -- finding it ------------------------------------------------------------------------

    @staticmethod
    def register(dom: Domain) -> dict[int, BlockFront]:
        """Make this domain serve its virtual disks, as loading xen-blkfront does; idempotent.

        Returns the disks by number; it fills as the bus finds them.
        """
        disks = _DISKS.get(dom)
        if disks is None:
            disks = _DISKS[dom] = {}
            known = disks
            dom.frontends.register("vbd", lambda: BlockFront(dom, known))
        return disks

    @classmethod
    def open(cls, dom: Domain, vdev: str | int, timeout: float = 30.0) -> BlockFront:
        """The disk `vdev` (`"xvda"`, `"/dev/xvda"` or 51712), once it is Connected.

        Raises: ValueError for a name that is none; WaitTimeout after `timeout` seconds, which
        says what state either half was in; BlockClosed when the device was closed meanwhile.
        """
        number = vdev_number(vdev)
        disks = cls.register(dom)

        def ready() -> bool:
            disk = disks.get(number)
            return disk is not None and (disk._connected or disk._dead is not None)

        try:
            dom.wait(ready, timeout, f"vbd {number} to connect")
        except WaitTimeout as late:
            found = disks.get(number)
            state = "no such device in the store" if found is None else repr(found._device)
            raise WaitTimeout(f"vbd {number} to connect: {state}", late.seconds) from None
        disk = disks[number]
        if disk._dead is not None:
            raise disk._dead
        return disk

    def __repr__(self) -> str:
        return f"<BlockFront {self.vdev} {self._device!r} {self._queue.unanswered} unanswered>"

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

        Raises: ValueError outside the disk; BlockError; WaitTimeout after `io_timeout`.
        """
        request = self._begin_read(sector, nr_sectors)
        if request.status is None and not self._spun(request):
            self._event()  # asks to be woken, and looks once more
            if request.status is None:
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
        """Make every write that was submitted before durable.  Raises: BlockError, WaitTimeout.

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
            self._event()
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

    def close(self) -> None:
        """Begin an orderly close and return; later calls, and requests that the backend has not
        answered by then, raise BlockClosed.  Idempotent."""
        device = self._device
        if self._dead is None:
            self._dead = BlockClosed("use", 0)
            if device is not None and device.state == XenbusState.Connected:
                device.switch_state(XenbusState.Closing)

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
            "recovery_seconds": self._last_recovery,
            "leftover_pages": self._leftovers.nr_pages,
        }

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
        if self._dead is not None:
            dead = self._dead
            raise type(dead)(op_name(request.op), request.sector, str(dead))
        if self._queue.submit(request):
            self._notify(self._port)
        return request

    def _begin_read(self, sector: int, nr_sectors: int) -> Request:
        features = self.features
        fits = sector >= 0 and nr_sectors > 0 and sector + nr_sectors <= features.sectors
        if not fits or features.sector_size != SECTOR_SIZE:
            self._check(sector, nr_sectors)
        return self._send(Request(READ, sector, nr_sectors, waiter=self._wait))

    def _spun(self, request: Request) -> bool:
        """Whether the answer came while we looked for it instead of going to sleep.

        A look that was in vain makes the next ones rarer, so that a slow backend, or a machine
        with more domains than processors, does not pay for it.
        """
        if self._spin_pause > 0:
            self._spin_pause -= 1
            return False
        if not self._queue.spin(SPIN_NANOSECONDS):
            self._spin_misses = min(self._spin_misses + 1, 10)
            self._spin_pause = 1 << self._spin_misses
            return False
        self._spin_misses = 0
        self._armed = False
        self._take_answers(rearm=False)
        if self._queue.unanswered:
            self._event()  # somebody else waits, and asleep perhaps
        return request.status is not None

    def _wait(self, request: Request, timeout: float | None) -> None:
        if not self._armed:
            self._event()
        self._dom.wait(
            lambda: request.status is not None,
            self.io_timeout if timeout is None else timeout,
            self._what,
        )

    def _event(self) -> None:
        """The backend rang, or we are about to sleep: look, and ask to be woken."""
        self._armed = True
        self._take_answers(rearm=True)

    def _take_answers(self, rearm: bool) -> None:
        try:
            if self._queue.complete(rearm):
                self._notify(self._port)
        except (RingBroken, ProtocolViolation) as broken:
            self._break(str(broken))

    # -- the bus's side (hvsim.domain.xenbus.driver.FrontendDriver) --------------------------

    def probe(self, device: FrontendDevice) -> None:
        """The bus found the device."""
        self._device = device
        text = device.read("virtual-device")
        self.vdev = int(text) if text and text.isdigit() else device.device_id
        self._disks[self.vdev] = self

    def otherend_changed(self, state: XenbusState) -> None:
        """The backend's state was reported."""
        device = self._the_device
        reaction = frontend_reaction(device.state, state)
        if self._dead is not None and reaction is not FrontendReaction.CLOSE:
            return
        match reaction:
            case FrontendReaction.PUBLISH:
                self._publish()
            case FrontendReaction.CONNECT:
                self._connect()
            case FrontendReaction.PUBLISH_AND_CONNECT:
                self._publish()
                self._connect()
            case FrontendReaction.UPDATE:
                self._update()
            case FrontendReaction.CLOSE:
                self._disconnect()
                self._bury(BlockClosed, "the device was closed")
                device.switch_state(XenbusState.Closed)
            case FrontendReaction.NOTHING:
                pass

    def backend_moved(self) -> None:
        """The device has another backend now: keep what is unanswered, drop the rest."""
        if self._moved_at is None:
            self._moved_at = self._dom.vcpu.now()
        self._disconnect()

    def removed(self) -> None:
        """The device is gone."""
        self._disconnect()
        self._bury(BlockClosed, "the device was removed")
        if self._disks.get(self.vdev) is self:
            del self._disks[self.vdev]

    # -- connecting ------------------------------------------------------------------------

    @property
    def _the_device(self) -> FrontendDevice:
        assert self._device is not None, "the bus probes first"
        return self._device

    def _publish(self) -> None:
        """Ring, port and features for the backend, in one transaction; then Initialised."""
        device = self._the_device
        device.read("trusted")
        offered, _queues = device.read_otherend_many(
            ["max-ring-page-order", "multi-queue-max-queues"]
        )
        wanted = self._options.get("ring_page_order", 0)
        order = min(wanted if isinstance(wanted, int) else 0, _number(offered), MAX_RING_PAGE_ORDER)
        self._disconnect()
        self._connection = connection = Connection(
            self._dom, self._leftovers, device.otherend_id, order, self._event
        )
        self._port = connection.port
        keys: dict[str, str | int] = {}
        if order == 0:
            keys["ring-ref"] = connection.ring_refs[0]
        else:
            keys["ring-page-order"] = order
            keys |= {f"ring-ref{n}": ref for n, ref in enumerate(connection.ring_refs)}
        keys["event-channel"] = connection.port
        keys["protocol"] = XEN_IO_PROTO_ABI_NATIVE
        keys["feature-persistent"] = 1 if self._options.get("persistent", True) else 0
        device.write_many(keys, "publish the ring")
        device.switch_state(XenbusState.Initialised)

    def _connect(self) -> None:
        """Take over what the backend says of the disk; then Connected, and on with the work."""
        device = self._the_device
        connection = self._connection
        assert connection is not None, "published before"
        features = _features(device.read_otherend_many(_PROPERTIES))
        if features is None:
            device.fatal(errno.EINVAL, f"reading backend fields at {device.otherend}")
            self._disconnect()
            self._bury(BlockBroken, "the backend's properties make no sense")
            return
        self.features = features
        persistent = features.persistent and bool(self._options.get("persistent", True))
        read_pool, write_pool = connection.open_pools(persistent)
        segments = max(BLKIF_MAX_SEGMENTS_PER_REQUEST, features.max_indirect_segments)
        self._queue.attach(
            connection.ring,
            read_pool,
            write_pool,
            max_segments=min(segments, FRONT_MAX_SEGMENTS),
            handle=self.vdev & 0xFFFF,
        )
        device.switch_state(XenbusState.Connected)
        self._what = f"vbd {self.vdev}: the answer of backend domain {connection.peer}"
        self._connected = True
        self._armed = True
        if self._moved_at is not None:
            self._last_recovery = self._dom.vcpu.now() - self._moved_at
            self._moved_at = None
            if self._forgets:
                self._queue.forget_unanswered()
        if self._queue.start():
            self._notify(self._port)

    def _update(self) -> None:
        """Connected already: the disk may have another size now."""
        features = _features(self._the_device.read_otherend_many(_PROPERTIES))
        if features is not None:
            self.features = features

    def _disconnect(self) -> None:
        """Give up what is shared with the backend; unanswered requests stay."""
        self._connected = False
        self._queue.detach()
        connection, self._connection = self._connection, None
        if connection is not None:
            self._what = f"vbd {self.vdev}: a new backend (domain {connection.peer} has gone)"
            connection.close()

    def _bury(self, error: type[BlockClosed], why: str) -> None:
        """Nothing will be answered any more."""
        if self._dead is None:
            self._dead = error("use", 0, why)
        self._queue.fail_all(error, why)

    def _break(self, why: str) -> None:
        """The backend broke the protocol: close the device, keep the domain."""
        device = self._the_device
        self._disconnect()
        self._bury(BlockBroken, f"the backend broke the protocol: {why}")
        device.fatal(errno.EIO, f"{why}; device disabled")


def _number(text: str | None, default: int = 0) -> int:
    """A number that a peer wrote; `default` for anything that is none, or is absurdly long."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 20:
        return default
    return int(text)


def _features(values: list[str | None]) -> Features | None:
    """The backend's properties, checked; None when they describe no disk."""
    found = dict(zip(_PROPERTIES, values, strict=True))
    sectors = _number(found["sectors"], -1)
    sector_size = _number(found["sector-size"], SECTOR_SIZE)
    if not 0 <= sectors <= MAX_SECTORS or found["info"] is None:
        return None
    if sector_size < SECTOR_SIZE or sector_size > 4096 or sector_size & (sector_size - 1):
        return None
    return Features(
        sectors=sectors,
        sector_size=sector_size,
        physical_sector_size=_number(found["physical-sector-size"], sector_size),
        info=_number(found["info"]),
        barrier=_number(found["feature-barrier"]) != 0,
        flush=_number(found["feature-flush-cache"]) != 0,
        discard=_number(found["feature-discard"]) != 0,
        discard_granularity=_number(found["discard-granularity"]),
        discard_alignment=_number(found["discard-alignment"]),
        discard_secure=_number(found["discard-secure"]) != 0,
        persistent=_number(found["feature-persistent"]) != 0,
        max_indirect_segments=_number(found["feature-max-indirect-segments"]),
    )


_DISKS: Final[WeakKeyDictionary[Domain, dict[int, BlockFront]]] = WeakKeyDictionary()
