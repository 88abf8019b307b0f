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

from hvsim.abi.blkif import BLKIF_MAX_SEGMENTS_PER_REQUEST
from hvsim.abi.xenbus import XEN_IO_PROTO_ABI_NATIVE, XenbusState
from hvsim.domain.xenbus.state import FrontendReaction, frontend_reaction
from hvsim.drivers.block.connection import Connection, Leftovers
from hvsim.drivers.block.disk import Disk
from hvsim.drivers.block.features import PROPERTIES, number, parse_features
from hvsim.drivers.block.protocol import (
    FRONT_MAX_SEGMENTS,
    MAX_RING_PAGE_ORDER,
    BlockBroken,
    BlockClosed,
    sabotages,
)
from hvsim.errors import TimedOut
from hvsim.names import vdev as vdev_names
from hvsim.names.number import unsigned

if TYPE_CHECKING:
    from hvsim.domain import Domain
    from hvsim.domain.xenbus.device import FrontendDevice


class BlockFront(Disk):
    """One virtual disk.  Get it with `BlockFront.open`; the bus makes it.

    Attributes:
        vdev: number of the device (51712 for xvda).
    """

    def __init__(self, dom: Domain, disks: dict[int, BlockFront]) -> None:
        super().__init__(dom)
        self.vdev = -1
        self._disks = disks
        self._device: FrontendDevice | None = None
        self._connection: Connection | None = None
        self._leftovers = Leftovers(dom)
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

    @staticmethod
    def known(dom: Domain) -> list[BlockFront]:
        """Those of a domain's own disks that are connected, by number."""
        disks = _DISKS.get(dom, {})
        return [disks[number] for number in sorted(disks) if disks[number]._connected]

    @classmethod
    def open(cls, dom: Domain, vdev: str | int, timeout: float = 30.0) -> BlockFront:
        """The disk `vdev` (`"xvda"`, `"/dev/xvda"` or 51712), once it is Connected.

        Raises: ValueError for a name that is none; TimedOut after `timeout` seconds, which
        says what state either half was in; BlockClosed when the device was closed meanwhile.
        """
        wanted = vdev_names.of_guest(vdev)
        disks = cls.register(dom)

        def ready() -> bool:
            disk = disks.get(wanted)
            return disk is not None and (disk._connected or disk._dead is not None)

        try:
            dom.wait(ready, timeout, f"vbd {wanted} to connect")
        except TimedOut as late:
            found = disks.get(wanted)
            state = "no such device in the store" if found is None else repr(found._device)
            raise TimedOut(f"vbd {wanted} to connect: {state}", late.seconds) from None
        disk = disks[wanted]
        if disk._dead is not None:
            raise disk._dead
        return disk

    def __repr__(self) -> str:
        return f"<BlockFront {self.vdev} {self._device!r} {self._queue.unanswered} unanswered>"

    # -- its end, and its figures ----------------------------------------------------------

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

    # -- the bus's side (hvsim.domain.xenbus.driver.FrontendDriver) --------------------------

    def probe(self, device: FrontendDevice) -> None:
        """The bus found the device."""
        self._device = device
        number = unsigned(device.read("virtual-device"), vdev_names.MAX_NUMBER)
        self.vdev = device.device_id if number is None else number
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
        order = min(wanted if isinstance(wanted, int) else 0, number(offered), MAX_RING_PAGE_ORDER)
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
        features = parse_features(device.read_otherend_many(PROPERTIES))
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
        features = parse_features(self._the_device.read_otherend_many(PROPERTIES))
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


_DISKS: Final[WeakKeyDictionary[Domain, dict[int, BlockFront]]] = WeakKeyDictionary()
