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

from hvsim.abi.blkif import VDISK_CDROM, VDISK_READONLY
from hvsim.abi.grant_table import GNTST_general_error
from hvsim.abi.xenbus import XEN_IO_PROTO_ABI_NATIVE, XenbusState
from hvsim.domain.hypercall import HypercallError
from hvsim.domain.mapper import GrantError
from hvsim.domain.ring import BackRing
from hvsim.domain.xenbus.state import BackendReaction, backend_reaction
from hvsim.drivers.block import lock
from hvsim.drivers.block.engine import Engine, EngineStatistics
from hvsim.drivers.block.image import Medium
from hvsim.drivers.block.looks import wanted
from hvsim.drivers.block.mapped import FrontendPages
from hvsim.drivers.block.protocol import (
    MAX_INDIRECT_SEGMENTS,
    MAX_RING_PAGE_ORDER,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    sabotages,
)
from hvsim.drivers.block.sources import open_medium
from hvsim.errors import BrokenByPeer, Refused
from hvsim.names.number import unsigned

if TYPE_CHECKING:
    from collections.abc import Callable

    from hvsim.domain import Domain, Mapping
    from hvsim.domain.xenbus.device import BackendDevice

TURN: Final = 128
"""Requests done for one frontend before the others have their turn."""

SPURIOUS_ALLOWED: Final = 64
"""Events without work in a row before the port is held back for a while."""

SPURIOUS_DELAYS: Final = (0.004, 0.016, 0.064, 0.25, 1.0)
"""Seconds it is held back, each time longer; at most one second, as in Linux."""


class _RingRefused(Exception):
    """What the frontend published cannot be used: `number` and text of the error node."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number


class Attachment:
    """A mapped ring with its bound port: what `connect` made and `close` undoes."""

    def __init__(
        self,
        dom: Domain,
        domid: int,
        refs: list[int],
        port: int,
        persistent: bool,
        handler: Callable[[], None],
    ) -> None:
        """Raises: GrantError (the ring), HypercallError (the port); nothing is kept then."""
        self._dom = dom
        self._page: Mapping = dom.mapper.map_contiguous(domid, refs)
        try:
            # Where the answers stand: 0 on a fresh ring; not so when a new backend was put
            # under a living frontend.  A value that makes no sense is found at the first look.
            with self._page.view[8:12].cast("I") as answered:
                start = answered[0]
            self.ring = BackRing(self._page.view, REQUEST_BYTES, RESPONSE_BYTES, start=start)
            self.pages = FrontendPages(dom.mapper, domid, persistent=persistent)
            self.port = dom.events.bind_interdomain(domid, port, handler)
        except BaseException:
            if hasattr(self, "ring"):
                self.ring.release()
            self._page.unmap()
            raise

    def close(self) -> None:
        """Unbind and unmap everything."""
        self._dom.events.close(self.port)
        self.ring.release()
        self.pages.close()
        self._page.unmap()


class BlockBack:
    """One virtual disk of one frontend.  The bus makes it.

    Attributes:
        image: what is behind the disk, once hotplug has found it.
    """

    def __init__(self, dom: Domain) -> None:
        self.image: Medium | None = None
        self._dom = dom
        self._device: BackendDevice | None = None
        self._attachment: Attachment | None = None
        self._engine: Engine | None = None
        self._last = EngineStatistics()
        self._is_cdrom = False
        self._spurious = 0
        self._held = 0
        self._forgetful = "drop-unflushed" in sabotages(dom.args)
        self._owner = lock.owner_in(dom.args)

    @classmethod
    def register(cls, dom: Domain) -> None:
        """Serve every `backend/vbd` of this domain from now on.

        Raises: ValueError when something else does.
        """
        dom.backends.register("vbd", lambda: cls(dom))

    def __repr__(self) -> str:
        return f"<BlockBack {self._device!r} {self.image!r}>"

    def statistics(self) -> EngineStatistics:
        """What was done since the frontend connected (the last figures, when it has left)."""
        return self._engine.statistics() if self._engine is not None else self._last

    # -- the bus's side (hvsim.domain.xenbus.driver.BackendDriver) ---------------------------

    def probe(self, device: BackendDevice) -> None:
        """A new backend directory: limits, the watch for the image, InitWait."""
        self._device = device
        device.write("feature-max-indirect-segments", MAX_INDIRECT_SEGMENTS)
        device.write("multi-queue-max-queues", 1)
        device.watch("physical-device", self._image_changed)
        device.write("max-ring-page-order", MAX_RING_PAGE_ORDER)
        device.switch_state(XenbusState.InitWait)

    def otherend_changed(self, state: XenbusState) -> None:
        """The frontend's state was reported."""
        device = self._the_device
        # `online` only decides what follows Closed; it is read when it does, as Linux does.
        online = state != XenbusState.Closed or device.online()
        match backend_reaction(device.state, state, online):
            case BackendReaction.REOPEN:
                device.switch_state(XenbusState.InitWait)
            case BackendReaction.CONNECT:
                self._attach()
            case BackendReaction.CLOSING:
                device.switch_state(XenbusState.Closing)
            case BackendReaction.CLOSE:
                self._detach()
                device.switch_state(XenbusState.Closed)
            case BackendReaction.CLOSE_AND_UNREGISTER:
                self._detach()
                device.switch_state(XenbusState.Closed)
                device.unregister()
            case BackendReaction.UNREGISTER:
                device.unregister()
            case BackendReaction.REFUSE:
                device.fatal(errno.EINVAL, f"saw state {int(state)} at frontend")
            case BackendReaction.NOTHING:
                pass

    def removed(self) -> None:
        """The device is gone: nothing of it stays mapped, bound or open."""
        try:
            self._detach()
        finally:
            image, self.image = self.image, None
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
            self.image = open_medium(self._dom, path, number, readonly, forgetful=self._forgetful)
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
        """The frontend has published its ring: take it (again)."""
        device = self._the_device
        self._detach()
        try:
            refs, port, persistent = self._read_ring()
            try:
                self._attachment = Attachment(
                    self._dom, device.otherend_id, refs, port, persistent, self._event
                )
            except GrantError as failed:
                # Both texts are on record: the map of the page, then what became of it.
                device.fatal(
                    -(failed.status or GNTST_general_error),
                    f"mapping in shared page {failed.ref} from domain {device.otherend_id}",
                )
                raise _RingRefused(errno.ENOENT, f"mapping ring-ref port {port}") from failed
            except HypercallError as failed:
                number = failed.errno or errno.EINVAL
                raise _RingRefused(number, f"mapping ring-ref port {port}") from failed
        except _RingRefused as refused:
            device.fatal(refused.number, str(refused))
            return
        self._connect_if_ready()

    def _read_ring(self) -> tuple[list[int], int, bool]:
        """(grant references, port, persistent) as the frontend wrote them, in Linux' order."""
        device = self._the_device
        protocol = device.read_otherend("protocol")
        if protocol not in (None, XEN_IO_PROTO_ABI_NATIVE):
            raise _RingRefused(errno.ENOSYS, f"unknown fe protocol {protocol[:64]}")
        persistent = (device.read_otherend("feature-persistent") or "0") != "0"
        queues = device.read_otherend("multi-queue-num-queues")
        if queues is not None and queues != "1":
            raise _RingRefused(
                errno.ENOSYS,
                f"guest requested {queues[:10]} queues, exceeding the maximum of 1.",
            )
        order_text = device.read_otherend("ring-page-order")
        port = unsigned(device.read_otherend("event-channel"))
        if port is None:
            raise _RingRefused(errno.EINVAL, f"reading {device.otherend}/event-channel")
        if order_text is None:
            names = ["ring-ref"]
        else:
            order = unsigned(order_text)
            if order is None or order > MAX_RING_PAGE_ORDER:
                raise _RingRefused(
                    errno.EINVAL,
                    f"requested ring page order {order_text[:10]} exceed max:{MAX_RING_PAGE_ORDER}",
                )
            names = [f"ring-ref{number}" for number in range(1 << order)]
        refs = []
        for name in names:
            ref = unsigned(device.read_otherend(name))
            if ref is None:
                raise _RingRefused(errno.EINVAL, f"reading {device.otherend}/{name}")
            refs.append(ref)
        return refs, port, persistent

    def _connect_if_ready(self) -> None:
        """Ring and image are both there: tell the frontend what it gets, and begin."""
        device = self._the_device
        image, attachment = self.image, self._attachment
        if image is None or attachment is None or device.state == XenbusState.Connected:
            return
        discard = image.discard_granularity
        if discard:
            discard *= (device.read("discard-enable") or "1") != "0"
        # Nobody writes to a read-only disk, so there is nothing to flush (recording 44).
        writes = int(not image.readonly)
        keys: dict[str, str | int] = {"feature-flush-cache": writes}
        if discard:
            keys |= {
                "discard-granularity": discard,
                "discard-alignment": 0,
                "discard-secure": 0,
                "feature-discard": 1,
            }
        info = VDISK_READONLY if image.readonly else 0
        if self._is_cdrom:
            info |= VDISK_CDROM
        keys |= {
            "feature-barrier": writes,
            "feature-persistent": 1,
            "sectors": image.sectors,
            "info": info,
            "sector-size": image.sector_size,
            "physical-sector-size": image.physical_sector_size,
        }
        device.write_many(keys, "publish the disk")
        device.switch_state(XenbusState.Connected)
        self._engine = Engine(
            attachment.ring, attachment.pages, image, self._log, spins=wanted(self._dom.args)
        )
        # The frontend may have rung before there was an engine.
        self._dom.vcpu.call_later(0.0, self._event)

    def _detach(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            self._last = engine.statistics()
        attachment, self._attachment = self._attachment, None
        if attachment is not None:
            attachment.close()

    def _log(self, text: str) -> None:
        device = self._device
        name = device.short_name if device is not None else "?"
        self._dom.log(f"vbd {name}: {text}")

    # -- work ------------------------------------------------------------------------------

    def _event(self) -> None:
        """The frontend rang, or it is its turn again."""
        engine = self._engine
        attachment = self._attachment
        if engine is None or attachment is None:
            return
        before = attachment.ring.req_cons
        try:
            more = engine.run(self._ring_bell, TURN)
        except BrokenByPeer as broken:
            self._break(str(broken))
            return
        if more:
            self._dom.vcpu.call_later(0.0, self._event)
        if attachment.ring.req_cons != before:
            self._spurious = 0
            self._held = 0
        else:
            self._spurious += 1
            if self._spurious > SPURIOUS_ALLOWED:
                self._hold_back(attachment)

    def _ring_bell(self) -> None:
        attachment = self._attachment
        if attachment is not None:
            self._dom.events.notify(attachment.port)

    def _hold_back(self, attachment: Attachment) -> None:
        """Do not listen to a frontend that rings for nothing; it is heard again later."""
        delay = SPURIOUS_DELAYS[min(self._held, len(SPURIOUS_DELAYS) - 1)]
        self._held += 1
        self._spurious = 0
        self._dom.events.mask(attachment.port)

        def listen() -> None:
            if self._attachment is attachment:
                self._dom.events.unmask(attachment.port)
                self._event()

        self._dom.vcpu.call_later(delay, listen)

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
