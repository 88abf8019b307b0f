"""blkback: serves a virtual disk to a frontend, from dom0 or from a driver domain.

Register it on the domain's backend bus: `BlockBack.register(dom)`.  The handshake is that of
Linux' blkback:

* a new backend directory: publish the limits, watch `physical-device`, InitWait;
* `physical-device` appears (the hotplug part found the image): open it;
* the frontend is Initialised: read its ring references, map the ring, bind its port;
* both of them done: publish features and size in one transaction, Connected.

The frontend is hostile.  What it wrote is parsed from one reading and checked; what it does to
the ring costs it its own device; a bounded number of its requests is done per turn, and one that
rings without work is listened to less and less often (XSA-332).  Its device is taken down when
its directory vanishes, in whichever state.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Final

from hvsim.abi.xenbus import XenbusState
from hvsim.domain.hypercall import HypercallError
from hvsim.domain.mapper import GrantError
from hvsim.domain.seams import BACK_RING, MEDIUM, PORT
from hvsim.drivers.block import lock
from hvsim.drivers.block.features import properties, ring_keys, spins
from hvsim.drivers.block.image import Medium
from hvsim.drivers.block.protocol import MAX_INDIRECT_SEGMENTS, MAX_RING_PAGE_ORDER
from hvsim.drivers.block.ring import BackConnection
from hvsim.drivers.block.service import Service
from hvsim.drivers.block.sources import open_medium
from hvsim.drivers.block.statistics import BackStatistics
from hvsim.drivers.split.handshake import BackHandshake, refusal
from hvsim.drivers.split.late_eoi import LateEoi
from hvsim.errors import BrokenByPeer, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from hvsim.domain import Domain
    from hvsim.domain.xenbus.device import BackendDevice

TURN: Final = 128
"""Requests done for one frontend before the others have their turn."""


class BlockBack:
    """One virtual disk of one frontend.  The bus makes it.

    Attributes:
        image: what is behind the disk, once hotplug has found it.
        connection: the frontend's ring while it is attached.
    """

    def __init__(self, dom: Domain, script: Callable[[BackendDevice], None] | None = None) -> None:
        self.image: Medium | None = None
        self._used: Medium | None = None  # the image, or what stands before it
        self._dom = dom
        self._script = script
        self._device: BackendDevice | None = None
        self.connection: BackConnection | None = None
        self._service: Service | None = None
        self._eoi: LateEoi | None = None
        self._last = BackStatistics()
        self._is_cdrom = False
        self._owner = lock.owner_in(dom.args)

    @classmethod
    def register(cls, dom: Domain, script: Callable[[BackendDevice], None] | None = None) -> None:
        """Serve every `backend/vbd` of this domain from now on.

        *script* is the hotplug part of a driver domain (`hotplug.py`), run from InitWait.
        Raises: ValueError when something else serves them.
        """
        dom.backends.register("vbd", lambda: cls(dom, script))

    def __repr__(self) -> str:
        return f"<BlockBack {self._device!r} {self.image!r}>"

    @property
    def held_back(self) -> int:
        """How often in a row the frontend's port was masked, for it rings without work."""
        return 0 if self._eoi is None else self._eoi.held

    def statistics(self) -> BackStatistics:
        """What was done since the frontend connected (the last figures, when it has left)."""
        return self._service.statistics() if self._service is not None else self._last

    # -- the bus's side (hvsim.domain.xenbus.driver.Back) ---------------------------

    def probe(self, device: BackendDevice) -> None:
        """A new backend directory: limits, the watch for the image, InitWait."""
        self._device = device
        self._handshake = BackHandshake(device, self._attach, self._detach)
        device.write("feature-max-indirect-segments", MAX_INDIRECT_SEGMENTS)
        device.write("multi-queue-max-queues", 1)
        device.watch("physical-device", self._image_changed)
        device.write("max-ring-page-order", MAX_RING_PAGE_ORDER)
        device.switch_state(XenbusState.InitWait)
        if self._script is not None:
            self._script(device)

    def otherend_changed(self, state: XenbusState) -> None:
        """The frontend's state was reported."""
        self._handshake.otherend_changed(state)

    def removed(self) -> None:
        """The device is gone: nothing of it stays mapped, bound or open."""
        try:
            self._detach()
        finally:
            image, self.image, self._used = self._used or self.image, None, None
            if image is not None:
                image.close()

    @property
    def _the_device(self) -> BackendDevice:
        assert self._device is not None, "the bus probes first"
        return self._device

    # -- the image -------------------------------------------------------------------------

    def _image_changed(self) -> None:
        """`physical-device` was written, or is looked at for the first time."""
        device = self._the_device
        wanted = device.read("physical-device")
        if wanted is None or device.state not in (XenbusState.Initialising, XenbusState.InitWait):
            return
        number = _device_number(wanted)
        if number is None:
            raise Refused(errno.EINVAL, f"physical-device is {wanted!r}")
        if self.image is not None:
            if self.image.device != number:
                self._dom.log(
                    f"{device.nodename}: changing physical device to {wanted} not supported"
                )
            return
        mode = device.read("mode")
        if mode is None:
            raise Refused(errno.ENOENT, "reading mode")
        path = device.read("node") or device.read("params") or ""
        readonly = not mode.startswith("w")
        self._is_cdrom = device.read_otherend("device-type") == "cdrom"
        try:
            self.image = open_medium(self._dom, path, number, readonly)
        except OSError as failed:
            raise Refused(
                failed.errno or errno.EIO,
                f"creating vbd structure: {path} {failed.strerror or failed}",
            ) from failed
        self._lock(self.image)
        self._connect_if_ready()

    def _lock(self, image: Medium) -> None:
        """Hold the image for our lab beside the toolstack, which has asked whether we may."""
        fd = image.fileno()  # none of a disk that is a disk of our own
        if self._owner is not None and fd >= 0:
            with contextlib.suppress(OSError):  # a file system without locks
                lock.take(fd, self._owner, image.readonly)

    # -- the ring --------------------------------------------------------------------------

    def _attach(self) -> None:
        """The frontend has published its ring: take it (again).  Raises: Refused."""
        device = self._the_device
        self._detach()
        keys = ring_keys(device.read_otherend, device.otherend)
        peer = device.otherend_id
        try:
            self.connection = connection = BackConnection(self._dom, peer, keys, self._event)
        except (GrantError, HypercallError) as failed:
            raise refusal(failed, f"ring-ref port {keys.port}", peer) from failed
        self._dom.seams.hold(PORT, connection.port, device)
        self._eoi = LateEoi(self._dom, connection.port, self._event)
        self._connect_if_ready()

    def _connect_if_ready(self) -> None:
        """Ring and image are both there: tell the frontend what it gets, and begin."""
        device = self._the_device
        image, connection = self.image, self.connection
        if image is None or connection is None or device.state == XenbusState.Connected:
            return
        discard = image.discard_granularity
        if discard:
            discard *= (device.read("discard-enable") or "1") != "0"
        keys = properties(image, discard=discard, cdrom=self._is_cdrom)
        device.write_many(keys, "publish the disk")
        device.switch_state(XenbusState.Connected)
        self._begin(image, connection)
        for seam in (MEDIUM, BACK_RING):
            self._dom.seams.follow(seam, self._begin_anew)

    def _begin(self, image: Medium, connection: BackConnection) -> Service:
        """Serve the ring from the image, or from what stands before either."""
        through, device = self._dom.seams.through, self._the_device
        self._used = used = through(MEDIUM, image, device)
        self._service = service = Service(
            through(BACK_RING, connection.ring, device),
            connection.pages,
            used,
            self._log,
            spins=spins(self._dom.args),
        )
        # The frontend may have rung before there was a service.
        self._dom.vcpu.call_later(0.0, self._event)
        return service

    def _begin_anew(self) -> None:
        """Something came to stand at a seam, or went: between two requests, as here."""
        image, connection, before = self.image, self.connection, self._service
        if image is not None and connection is not None and before is not None:
            self._begin(image, connection).inherit(before)
            connection.ring.push()  # what was held back, or published as something else
            self._dom.events.notify(connection.port)

    def _detach(self) -> None:
        for seam in (MEDIUM, BACK_RING):
            self._dom.seams.unfollow(seam, self._begin_anew)
        service, self._service = self._service, None
        if service is not None:
            self._last = service.statistics()
        eoi, self._eoi = self._eoi, None
        if eoi is not None:
            eoi.close()
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def _log(self, text: str) -> None:
        device = self._device
        name = device.short_name if device is not None else "?"
        self._dom.log(f"vbd {name}: {text}")

    # -- work ------------------------------------------------------------------------------

    def _event(self) -> None:
        """The frontend rang, or it is its turn again."""
        service, connection, eoi = self._service, self.connection, self._eoi
        if service is None or connection is None or eoi is None:
            return
        before = connection.ring.req_cons
        left = TURN
        try:
            while left > 0:
                count, notify = service.batch()
                if notify:
                    self._dom.events.notify(connection.port)
                left -= count
                if service.waits is not None:
                    self._dom.vcpu.call_later(service.waits, self._event)
                if not service.goes_on(count):
                    break
            else:
                self._dom.vcpu.call_later(0.0, self._event)
        except BrokenByPeer as broken:
            self._break(str(broken))
            return
        eoi.end(connection.ring.req_cons != before)

    def _break(self, why: str) -> None:
        """The ring cannot be trusted any more: this device is over, and only this one."""
        device = self._the_device
        self._detach()
        device.fatal(errno.EACCES, f"frontend provided bogus ring requests ({why})")


def _device_number(text: str) -> int | None:
    """`major:minor` in hexadecimal as a device number, or None."""
    major, colon, minor = text.partition(":")
    try:
        return os.makedev(int(major, 16), int(minor, 16)) if colon else None
    except (ValueError, OverflowError):
        return None
