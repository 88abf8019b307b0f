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

from hvsim.abi.xenbus import XEN_IO_PROTO_ABI_NATIVE, XenbusState
from hvsim.domain.seams import FRONT_RING, PORT
from hvsim.drivers.block.disk import Disk
from hvsim.drivers.block.features import PROPERTIES, number, parse_features
from hvsim.drivers.block.protocol import (
    MAX_RING_PAGE_ORDER,
    BlockBroken,
    BlockClosed,
)
from hvsim.drivers.block.ring import FrontConnection
from hvsim.drivers.split.deferred import DeferredGrants
from hvsim.drivers.split.handshake import FrontHandshake
from hvsim.drivers.split.waiting import connected
from hvsim.names import vdev as vdev_names
from hvsim.names.number import unsigned

if TYPE_CHECKING:
    from hvsim.domain import Domain
    from hvsim.domain.ring import FrontRing
    from hvsim.domain.xenbus.device import FrontendDevice


class BlockFront:
    """The driver of one virtual disk.  The bus makes it; programs use its `Disk`.

    Attributes:
        disk: what programs use.
    """

    def __init__(self, dom: Domain, disks: dict[int, Disk]) -> None:
        self._deferred = DeferredGrants(dom)
        self.disk = Disk(
            dom, -1, broken=self._break, closing=self._begin_close, deferred=self._deferred
        )
        self._dom = dom
        self._disks = disks
        self._device: FrontendDevice | None = None
        options = dom.args.get("vbd")
        self._options: dict[str, object] = options if isinstance(options, dict) else {}
        self._moved_at: float | None = None

    # -- finding it ------------------------------------------------------------------------

    @staticmethod
    def register(dom: Domain) -> dict[int, Disk]:
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
    def known(dom: Domain) -> list[Disk]:
        """Those of a domain's own disks that are connected, by number."""
        disks = _DISKS.get(dom, {})
        return [disks[number] for number in sorted(disks) if disks[number].connected]

    @classmethod
    def open(cls, dom: Domain, vdev: str | int, timeout: float = 30.0) -> Disk:
        """The disk `vdev` (`"xvda"`, `"/dev/xvda"` or 51712), once it is Connected.

        Raises: ValueError for a name that is none; TimedOut after `timeout` seconds, which
        says what state either half was in; BlockClosed when the device was closed meanwhile.
        """
        wanted = vdev_names.of_guest(vdev)
        disk = connected(dom, "vbd", wanted, cls.register(dom), timeout)
        if disk.dead is not None:
            raise disk.dead
        return disk

    def __repr__(self) -> str:
        return f"<BlockFront {self._device!r} {self.disk!r}>"

    def statistics(self) -> dict[str, int | float]:
        """Those of the disk."""
        return self.disk.statistics()

    # -- the bus's side (hvsim.domain.xenbus.driver.Front) -----------------------------------

    def probe(self, device: FrontendDevice) -> None:
        """The bus found the device."""
        self._device = device
        self._handshake = FrontHandshake(
            device, self._publish, self._connect, self._close, self._update
        )
        number = unsigned(device.read("virtual-device"), vdev_names.MAX_NUMBER)
        self.disk.vdev = device.device_id if number is None else number
        self._disks[self.disk.vdev] = self.disk
        self._dom.seams.follow(FRONT_RING, self._reseat)

    def otherend_changed(self, state: XenbusState) -> None:
        """The backend's state was reported."""
        if self.disk.dead is None or state in (XenbusState.Closing, XenbusState.Closed):
            self._handshake.otherend_changed(state)

    def backend_moved(self) -> None:
        """The device has another backend now: keep what is unanswered, drop the rest."""
        if self._moved_at is None:
            self._moved_at = self._dom.vcpu.now()
        self.disk.disconnect()

    def close(self) -> None:
        """Begin an orderly close and return.  Idempotent."""
        self.disk.close()

    def removed(self) -> None:
        """The device is gone."""
        self._dom.seams.unfollow(FRONT_RING, self._reseat)
        self.disk.disconnect()
        self.disk.bury(BlockClosed, "the device was removed")
        if self._disks.get(self.disk.vdev) is self.disk:
            del self._disks[self.disk.vdev]

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
        self.disk.disconnect()
        connection = FrontConnection(
            self._dom, self._deferred, device.otherend_id, order, self.disk.look
        )
        self._dom.seams.hold(PORT, connection.port, device)
        self.disk.publish(connection)
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
        device, disk = self._the_device, self.disk
        features = parse_features(device.read_otherend_many(PROPERTIES))
        if features is None:
            device.fatal(errno.EINVAL, f"reading backend fields at {device.otherend}")
            disk.disconnect()
            disk.bury(BlockBroken, "the backend's properties make no sense")
            return
        persistent = features.persistent and bool(self._options.get("persistent", True))
        disk.connect(features, persistent, self._ring())
        device.switch_state(XenbusState.Connected)
        if self._moved_at is not None:
            disk.recovery_seconds = self._dom.vcpu.now() - self._moved_at
            self._moved_at = None
        if disk.start() and disk.connection is not None:
            self._dom.events.notify(disk.connection.port)

    def _ring(self) -> FrontRing:
        """That of the connection, or what stands before it."""
        connection = self.disk.connection
        assert connection is not None, "published before"
        return self._dom.seams.through(FRONT_RING, connection.ring, self._the_device)

    def _reseat(self) -> None:
        """Something came to stand before the ring, or went."""
        if self.disk.connected:
            self.disk.reseat(self._ring())

    def _update(self) -> None:
        """Connected already: the disk may have another size now."""
        features = parse_features(self._the_device.read_otherend_many(PROPERTIES))
        if features is not None:
            self.disk.features = features

    def _close(self) -> None:
        """The backend closes."""
        self.disk.disconnect()
        self.disk.bury(BlockClosed, "the device was closed")

    def _begin_close(self) -> None:
        device = self._device
        if device is not None and device.state == XenbusState.Connected:
            device.switch_state(XenbusState.Closing)

    def _break(self, why: str) -> None:
        """The backend broke the protocol: close the device, keep the domain."""
        self.disk.disconnect()
        self.disk.bury(BlockBroken, f"the backend broke the protocol: {why}")
        self._the_device.fatal(errno.EIO, f"{why}; device disabled")


_DISKS: Final[WeakKeyDictionary[Domain, dict[int, Disk]]] = WeakKeyDictionary()
