"""netback: serves a virtual network interface to a frontend, from dom0 or from a driver domain.

Register it on the domain's backend bus: `NetBack.register(dom, make_link)`.  The handshake is that
of Linux' netback:

* a new backend directory: publish the features, make the link, InitWait;
* the frontend is Connected: map its rings, bind its ports;
* the hotplug script has said ``hotplug-status = connected`` as well: Connected.  In a driver domain
  this driver is its own script.

A frontend that closes before it connects (Windows) finds the backend in InitWait again; one that
starts anew is served anew.  What it wrote is parsed from one reading and checked; what it does to
its rings costs it its own device.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hvsim.abi.xenbus import XenbusState
from hvsim.domain.hypercall import HypercallError
from hvsim.domain.mapper import GrantError
from hvsim.domain.seams import BACK_RING, BACK_RX_RING, LINK, PORT
from hvsim.drivers.capture.tap import Tap
from hvsim.drivers.net import hotplug, rate
from hvsim.drivers.net.features import (
    BACK_OFFERS,
    FRONT_KEYS,
    MAX_QUEUES,
    FrontFeatures,
    nr_queues,
    queue_keys,
)
from hvsim.drivers.net.guest_rx import GuestRx
from hvsim.drivers.net.hotplug import CONNECTED, longest_frame, vif_info
from hvsim.drivers.net.link import carrier, offloads
from hvsim.drivers.net.multicast import Multicast
from hvsim.drivers.net.protocol import VifInfo
from hvsim.drivers.net.service import QueueService
from hvsim.drivers.net.statistics import Direction, figures
from hvsim.drivers.split import devd
from hvsim.drivers.split.handshake import RingRefused, refusal
from hvsim.drivers.split.statistics import Counters
from hvsim.xs import requests
from hvsim.xs.client import StoreError

if TYPE_CHECKING:
    from hvsim.domain import Domain
    from hvsim.domain.xenbus.device import BackendDevice

MakeLink = Callable[[VifInfo], Any]
"""Makes the link (see `link.py`) of a vif; None for a vif without a link.  May raise OSError or
ValueError: the vif then stays in InitWait with ``hotplug-status = error``."""


class NetBack:
    """One virtual interface of one frontend.  The bus makes it.

    Attributes:
        link: what is behind the interface, None without a link.
        queues: those of the connected frontend.
    """

    def __init__(self, dom: Domain, make_link: MakeLink) -> None:
        self.link: Any = None
        self.queues: list[QueueService] = []
        self._dom = dom
        self._make_link = make_link
        self._before: Any = None
        self._device: BackendDevice | None = None
        self._info: VifInfo | None = None
        self._tap: Tap | None = None
        self._multicast = Multicast()
        self._last: Mapping[str, int] = figures([], [])
        self._lost = Direction()
        self._rx: GuestRx | None = None
        self._watches_hotplug = False

    @classmethod
    def register(cls, dom: Domain, make_link: MakeLink) -> None:
        """Serve every `backend/vif` of this domain from now on.

        Raises: ValueError when something else does.
        """
        dom.backends.register("vif", lambda: cls(dom, make_link))

    def __repr__(self) -> str:
        return f"<NetBack {self._device!r} {self.link!r} {len(self.queues)} queues>"

    def statistics(self) -> Mapping[str, int]:
        """Figures since the frontend connected (the last ones, when it has left), as the backend
        sees it: ``rx`` is what the guest sent."""
        if not self.queues:
            return self._last
        tx = [queue.rx.statistics for queue in self.queues]
        return figures([*tx, self._lost], [queue.tx.statistics for queue in self.queues])

    # -- the bus's side (hvsim.domain.xenbus.driver.Back) ---------------------------

    def probe(self, device: BackendDevice) -> None:
        """A new backend directory: features, the link, InitWait."""
        self._device = device
        self._tap = Tap(self._dom, device)
        Counters(self._dom, device, self.statistics)
        device.write_many(BACK_OFFERS, "publish the features")
        device.write("feature-split-event-channels", 1)
        device.write("multi-queue-max-queues", MAX_QUEUES)
        device.write("feature-persistent", 1)
        self._open_link(device)
        device.switch_state(XenbusState.InitWait)
        self._run_script(device)

    def otherend_changed(self, state: XenbusState) -> None:
        """The frontend's state was reported (netback's ``frontend_changed``)."""
        device = self._the_device
        match state:
            case XenbusState.Initialising:
                if device.state in (XenbusState.Closed, XenbusState.Connected):
                    self._disconnect()
                    if device.state == XenbusState.Connected:
                        device.switch_state(XenbusState.Closing)
                        device.switch_state(XenbusState.Closed)
                    device.switch_state(XenbusState.InitWait)
            case XenbusState.Connected:
                self._connect()
            case XenbusState.Closing:
                self._disconnect()
                device.switch_state(XenbusState.Closing)
            case XenbusState.Closed:
                self._close(device, leaves=not device.online())
            case XenbusState.Unknown:
                self._close(device, leaves=True)
            case XenbusState.InitWait | XenbusState.Initialised:
                pass
            case _:
                device.fatal(errno.EINVAL, f"saw state {int(state)} at frontend")

    def removed(self) -> None:
        """The device is gone: nothing of it stays mapped, bound or open."""
        try:
            self._disconnect()
        finally:
            link, self.link = self.link, None
            if link is not None:
                link.close()
            if self._tap is not None:
                self._tap.close()

    @property
    def _the_device(self) -> BackendDevice:
        assert self._device is not None, "the bus probes first"
        return self._device

    def _close(self, device: BackendDevice, leaves: bool) -> None:
        """Closed; *leaves*: for good.

        netback takes ``hotplug-status`` away when it lets go of a device that is there yet, with
        the last state: the toolstack waits for that one alone, and removes the directory.
        """
        unplugged = [requests.rm(device.path("hotplug-status"))] if leaves else []
        self._disconnect()
        if device.state in (XenbusState.Connected, XenbusState.InitWait):
            device.switch_state(XenbusState.Closing)
        if device.state != XenbusState.Closed:
            device.switch_state(XenbusState.Closed, unplugged)
        elif leaves:
            device.store.pipeline(unplugged)
        if leaves:
            device.unregister()

    # -- the link --------------------------------------------------------------------------

    def _open_link(self, device: BackendDevice) -> None:
        """Make the link; what is wrong with it stands in the store as from a hotplug script."""
        info = self._info = vif_info(device)
        try:
            self.link = self._make_link(info)
        except (OSError, ValueError) as failed:
            text = f"{info.name}: {failed}"
            self._dom.log(text)
            hotplug.failed(device, text)

    def _run_script(self, device: BackendDevice) -> None:
        """In a driver domain we are the usual script; in dom0 the toolstack runs it."""
        info = self._info
        assert info is not None, "made with the link"
        if self._dom.domid == 0 or self.link is None or not hotplug.usual(info):
            return
        devd.hotplug(device, lambda: self._online(device, info))

    def _online(self, device: BackendDevice, info: VifInfo) -> None:
        try:
            hotplug.online(device, self.link, info)
        except (OSError, ValueError) as failed:
            text = f"{info.name}: {failed}"
            self._dom.log(text)
            hotplug.failed(device, text)

    # -- the rings -------------------------------------------------------------------------

    def _connect(self) -> None:
        """The frontend has published its rings: take them."""
        device = self._the_device
        if device.state == XenbusState.Closed:  # the frontend's Initialising was not seen
            device.switch_state(XenbusState.InitWait)
        if device.state not in (XenbusState.Initialising, XenbusState.InitWait) or self.queues:
            return
        try:
            self._take_queues(device)
        except RingRefused as refused:
            self._disconnect()
            self._refuse(device, refused)
            return
        self._connect_if_plugged()

    def _refuse(self, device: BackendDevice, refused: RingRefused) -> None:
        """Rings that cannot be used: the reasons on record, Closing, and then Connected.

        Linux' netback calls itself connected whatever came of it (surprise 37 of a real host); so
        the frontend sees both, and no frame passes.
        """
        refused.report(device)
        try:
            device.force_state(XenbusState.Connected)
        except StoreError as strict:
            if strict.errno != errno.EPERM:
                raise

    def _take_queues(self, device: BackendDevice) -> None:
        info = self._info
        assert info is not None, "probe came first"
        values = device.read_otherend_many(["multi-queue-num-queues", *FRONT_KEYS])
        count = nr_queues(values[0])
        features = FrontFeatures.of(values[1:])
        if not features.rx_copy:
            raise RingRefused(errno.EOPNOTSUPP, "the frontend does not request rx-copy")
        self._multicast = Multicast(on=features.multicast_control)
        offloads(
            self.link,
            checksum=features.checksum,
            tso4=features.gso_tcpv4,
            tso6=features.gso_tcpv6,
        )
        fd = -1 if self.link is None else self.link.fd
        credit = rate.Credit(info.rate or rate.NO_LIMIT)
        for index in range(count):
            prefix = "" if count == 1 else f"queue-{index}/"
            keys = queue_keys(
                device.read_otherend, prefix, f"{device.otherend}/{prefix}".rstrip("/")
            )
            try:
                queue = QueueService(
                    self._dom,
                    device.otherend_id,
                    index,
                    keys,
                    features,
                    fd,
                    credit,
                    self._tap,
                    self._multicast.change,
                    self._posted,
                    self._break,
                    longest_frame(self.link),
                )
            except (GrantError, HypercallError) as failed:
                raise refusal(failed, str(keys), device.otherend_id) from failed
            for port in queue.ports:
                self._dom.seams.hold(PORT, port, device)
            self.queues.append(queue)

    def _connect_if_plugged(self) -> None:
        """Rings and hotplug are both there: Connected, and frames pass."""
        device = self._the_device
        if not self.queues or device.state == XenbusState.Connected:
            return
        if device.read("hotplug-status") != CONNECTED:
            if not self._watches_hotplug:
                self._watches_hotplug = True
                device.watch("hotplug-status", self._connect_if_plugged)
            return
        if self._info is not None and hotplug.usual(self._info):
            hotplug.plug(self.link)
        device.switch_state(XenbusState.Connected)
        for queue in list(self.queues):
            queue.seat(device)
            # The frontend may have rung before.
            self._dom.vcpu.call_later(0.0, queue.start)
        for seam in (BACK_RING, BACK_RX_RING):
            self._dom.seams.follow(seam, self._reseat)
        if self.link is not None:
            self._pass_frames()
            self._dom.seams.follow(LINK, self._link_changed)

    def _pass_frames(self) -> None:
        """Between the rings and the link, or what stands before it."""
        link = self._dom.seams.through(LINK, self.link, self._the_device)
        if link is self._before:
            return
        self._stop_listening()
        self._before = link
        carrier(link, True)
        queues, multicast = list(self.queues), self._multicast
        for queue in queues:
            queue.tx.use(link)
        name = self._info.name if self._info is not None else "vif"
        self._rx = GuestRx(self._dom, link, queues, multicast, name, self._break)
        self._rx.start()

    def _reseat(self) -> None:
        """Something came to stand before the rings, or went."""
        for queue in list(self.queues):
            queue.reseat(self._the_device)

    def _link_changed(self) -> None:
        """Something came to stand there, or went: anew, in a turn of the device's own."""
        self._the_device.call_later(0.0, self._pass_frames_again)

    def _pass_frames_again(self) -> None:
        if self._before is not None:
            self._pass_frames()

    def _stop_listening(self) -> None:
        rx, self._rx = self._rx, None
        if rx is not None:
            rx.close()

    def _disconnect(self) -> None:
        if self.queues:
            self._last = self.statistics()
        queues, self.queues = self.queues, []
        self._dom.seams.unfollow(LINK, self._link_changed)
        for seam in (BACK_RING, BACK_RX_RING):
            self._dom.seams.unfollow(seam, self._reseat)
        self._stop_listening()
        before, self._before = self._before, None
        if before is not None and before is not self.link:
            before.close()
        if queues:
            carrier(self.link, False)
        for queue in queues:
            queue.close()

    def _break(self, why: str) -> None:
        """The rings cannot be trusted any more: this device is over, and only this one."""
        self._disconnect()
        self._the_device.fatal(errno.EACCES, f"fatal error; disabling device: {why}")

    def _posted(self) -> None:
        """A guest has posted pages."""
        if self._rx is not None:
            self._rx.posted()
