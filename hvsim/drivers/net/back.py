"""netback: serves a virtual network interface to a frontend, from dom0 or from a driver domain.

Register it on the domain's backend bus: `NetBack.register(dom, make_port)`.  The handshake is that
of Linux' netback:

* a new backend directory: publish the features, make the port, InitWait;
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

from hvsim.abi.grant_table import GNTST_general_error
from hvsim.abi.xenbus import XenbusState
from hvsim.domain.hypercall import HypercallError
from hvsim.domain.mapper import GrantError
from hvsim.drivers import devd
from hvsim.drivers.capture.tap import Tap
from hvsim.drivers.counters import Counters
from hvsim.drivers.net import hotplug, rate
from hvsim.drivers.net.features import (
    FRONT_KEYS,
    MAX_QUEUES,
    FrontFeatures,
    Refused,
    nr_queues,
    queue_keys,
)
from hvsim.drivers.net.hotplug import CONNECTED, longest_frame, vif_info
from hvsim.drivers.net.multicast import Multicast
from hvsim.drivers.net.offload import HEADERS, flow
from hvsim.drivers.net.protocol import VifInfo
from hvsim.drivers.net.queue import TURN, BackQueue
from hvsim.drivers.net.receive import read_whole
from hvsim.drivers.net.statistics import Direction, figures
from hvsim.errors import BrokenByPeer
from hvsim.xs.client import StoreError

if TYPE_CHECKING:
    from hvsim.domain import Domain
    from hvsim.domain.xenbus.device import BackendDevice

MakePort = Callable[[VifInfo], Any]
"""Makes the port (see `port.py`) of a vif; None for a vif without a link.  May raise OSError or
ValueError: the vif then stays in InitWait with ``hotplug-status = error``."""


class NetBack:
    """One virtual interface of one frontend.  The bus makes it.

    Attributes:
        port: what is behind the interface, None without a link.
        queues: those of the connected frontend.
    """

    def __init__(self, dom: Domain, make_port: MakePort) -> None:
        self.port: Any = None
        self.queues: list[BackQueue] = []
        self._dom = dom
        self._make_port = make_port
        self._device: BackendDevice | None = None
        self._info: VifInfo | None = None
        self._tap: Tap | None = None
        self._multicast = Multicast()
        self._last: Mapping[str, int] = figures([], [])
        self._lost = Direction()
        self._reading = False
        self._watches_hotplug = False

    @classmethod
    def register(cls, dom: Domain, make_port: MakePort) -> None:
        """Serve every `backend/vif` of this domain from now on.

        Raises: ValueError when something else does.
        """
        dom.backends.register("vif", lambda: cls(dom, make_port))

    def __repr__(self) -> str:
        return f"<NetBack {self._device!r} {self.port!r} {len(self.queues)} queues>"

    def statistics(self) -> Mapping[str, int]:
        """Figures since the frontend connected (the last ones, when it has left), as the backend
        sees it: ``rx`` is what the guest sent."""
        if not self.queues:
            return self._last
        tx = [queue.rx.statistics for queue in self.queues]
        return figures([*tx, self._lost], [queue.tx.statistics for queue in self.queues])

    # -- the bus's side (hvsim.domain.xenbus.driver.BackendDriver) ---------------------------

    def probe(self, device: BackendDevice) -> None:
        """A new backend directory: features, the port, InitWait."""
        self._device = device
        self._tap = Tap(self._dom, device)
        Counters(self._dom, device, self.statistics)
        device.write_many(
            {
                "feature-sg": 1,
                "feature-gso-tcpv4": 1,
                "feature-gso-tcpv6": 1,
                "feature-ipv6-csum-offload": 1,
                "feature-rx-copy": 1,
                "feature-rx-flip": 0,
                "feature-multicast-control": 1,
                "feature-dynamic-multicast-control": 1,
            },
            "publish the features",
        )
        device.write("feature-split-event-channels", 1)
        device.write("multi-queue-max-queues", MAX_QUEUES)
        device.write("feature-persistent", 1)
        self._make_link(device)
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
                online = device.online()
                self._close(device)
                if not online:
                    self._leave(device)
            case XenbusState.Unknown:
                self._close(device)
                self._leave(device)
            case XenbusState.InitWait | XenbusState.Initialised:
                pass
            case _:
                device.fatal(errno.EINVAL, f"saw state {int(state)} at frontend")

    def removed(self) -> None:
        """The device is gone: nothing of it stays mapped, bound or open."""
        try:
            self._disconnect()
        finally:
            port, self.port = self.port, None
            if port is not None:
                port.close()
            if self._tap is not None:
                self._tap.close()

    @property
    def _the_device(self) -> BackendDevice:
        assert self._device is not None, "the bus probes first"
        return self._device

    def _close(self, device: BackendDevice) -> None:
        self._disconnect()
        if device.state in (XenbusState.Connected, XenbusState.InitWait):
            device.switch_state(XenbusState.Closing)
        if device.state != XenbusState.Closed:
            device.switch_state(XenbusState.Closed)

    def _leave(self, device: BackendDevice) -> None:
        """Closed for good.  netback takes ``hotplug-status`` away when it lets go of a device that
        is there yet; at once, for the toolstack only waits for Closed."""
        try:
            device.store.rm(device.path("hotplug-status"))
        except StoreError as gone:
            if gone.errno not in (errno.ENOENT, errno.EACCES):
                raise
        device.unregister()

    # -- the port --------------------------------------------------------------------------

    def _make_link(self, device: BackendDevice) -> None:
        """Make the port; what is wrong with it stands in the store as from a hotplug script."""
        info = self._info = vif_info(device)
        try:
            self.port = self._make_port(info)
        except (OSError, ValueError) as failed:
            text = f"{info.name}: {failed}"
            self._dom.log(text)
            hotplug.failed(device, text)

    def _run_script(self, device: BackendDevice) -> None:
        """In a driver domain we are the usual script; in dom0 the toolstack runs it."""
        info = self._info
        assert info is not None, "made with the link"
        if self._dom.domid == 0 or self.port is None or not hotplug.usual(info):
            return
        devd.hotplug(device, lambda: self._online(device, info))

    def _online(self, device: BackendDevice, info: VifInfo) -> None:
        try:
            hotplug.online(device, self.port, info)
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
        except Refused as refused:
            self._disconnect()
            self._refuse(device, refused)
            return
        self._connect_if_plugged()

    def _refuse(self, device: BackendDevice, refused: Refused) -> None:
        """Rings that cannot be used: the reasons on record, Closing, and then Connected.

        Linux' netback calls itself connected whatever came of it (surprise 37 of a real host); so
        the frontend sees both, and no frame passes.
        """
        for status, text in (*refused.before, (refused.number, str(refused))):
            device.fatal(status, text)
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
            raise Refused(errno.EOPNOTSUPP, "the frontend does not request rx-copy")
        self._multicast = Multicast(on=features.multicast_control)
        if self.port is not None:
            self.port.set_offloads(
                checksum=features.checksum,
                tso4=features.gso_tcpv4,
                tso6=features.gso_tcpv6,
            ) if hasattr(self.port, "set_offloads") else None
        fd = -1 if self.port is None else self.port.fd
        credit = rate.Credit(info.rate or rate.NO_LIMIT)
        for index in range(count):
            prefix = "" if count == 1 else f"queue-{index}/"
            keys = queue_keys(
                device.read_otherend, prefix, f"{device.otherend}/{prefix}".rstrip("/")
            )
            try:
                queue = BackQueue(
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
                    longest_frame(self.port),
                )
            except GrantError as failed:
                status = -(failed.status or GNTST_general_error)
                page = f"mapping in shared page {failed.ref} from domain {device.otherend_id}"
                raise Refused(errno.ENOENT, f"mapping {keys}", ((status, page),)) from failed
            except HypercallError as failed:
                raise Refused(failed.errno or errno.EINVAL, f"mapping {keys}") from failed
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
            hotplug.plug(self.port)
        device.switch_state(XenbusState.Connected)
        if self.port is not None:
            _carrier(self.port, True)
        for queue in list(self.queues):
            # The frontend may have rung before.
            self._dom.vcpu.call_later(0.0, queue.start)
        self._listen()

    def _disconnect(self) -> None:
        if self.queues:
            self._last = self.statistics()
        queues, self.queues = self.queues, []
        self._stop_listening()
        if queues and self.port is not None:
            _carrier(self.port, False)
        for queue in queues:
            queue.close()

    def _break(self, why: str) -> None:
        """The rings cannot be trusted any more: this device is over, and only this one."""
        self._disconnect()
        self._the_device.fatal(errno.EACCES, f"fatal error; disabling device: {why}")

    # -- frames for the guest ----------------------------------------------------------------

    def _listen(self) -> None:
        if self.port is not None and self.queues and not self._reading:
            self._reading = True
            self._dom.vcpu.add_fd(self.port.fd, self._readable)
            tagged = getattr(self.port, "tagged", None)
            if tagged is not None:
                self._dom.vcpu.add_fd(tagged.fd, self._tagged_readable)

    def _stop_listening(self) -> None:
        if self._reading:
            self._reading = False
            self._dom.vcpu.remove_fd(self.port.fd)
            tagged = getattr(self.port, "tagged", None)
            if tagged is not None:
                self._dom.vcpu.remove_fd(tagged.fd)

    def _posted(self) -> None:
        """A guest has posted pages: frames that waited for them can go on."""
        if not self._reading and self._the_device.state == XenbusState.Connected:
            self._readable()

    def _readable(self) -> None:
        """Frames for the guest."""
        fd = self.port.fd if self.port is not None else -1
        if len(self.queues) == 1:
            self._receive(lambda: self._receive_one(self.queues[0]))
        else:
            self._receive(lambda: self._receive_many(lambda: read_whole(fd)))

    def _tagged_readable(self) -> None:
        """Those of a VLAN."""
        self._receive(lambda: self._receive_many(self.port.tagged.read))

    def _receive(self, read: Callable[[], bool]) -> None:
        """Frames into the RX rings, as much as one turn allows; *read* says whether one is full."""
        if not self.queues:
            return
        try:
            full = read()
        except BrokenByPeer as broken:
            self._break(str(broken))
            return
        except OSError as failed:
            self._dom.log(
                f"{self._info.name if self._info else 'vif'}: the link has gone: {failed}"
            )
            self._stop_listening()
            return
        for queue in list(self.queues):
            queue.answer_rx()
        # A full ring is waited for, and the link's own bounded queue with it.
        if full:
            self._stop_listening()
        else:
            self._listen()

    def _receive_one(self, queue: BackQueue) -> bool:
        """One queue: straight from the port into its pages.  Whether it is full."""
        fd = self.port.fd
        for _ in range(TURN):
            if not queue.ready():
                return True
            if queue.rx.room and not self._multicast.on:
                if not queue.rx.read_frame(fd):
                    return False
                continue
            found = read_whole(fd)
            if found is None:
                return False
            if self._multicast.wanted(found[1][:6]):
                queue.rx.hold(*found)
        return False

    def _receive_many(self, read: Callable[[], tuple[bytes, bytes] | None]) -> bool:
        """Several queues: a frame is looked at before it is known where it goes."""
        for _ in range(TURN):
            if not all(queue.ready() for queue in self.queues):
                return True
            found = read()
            if found is None:
                return False
            vnet, frame = found
            if self._multicast.wanted(frame[:6]):
                which = flow(frame[:HEADERS]) % len(self.queues)
                self.queues[which].rx.hold(vnet, frame)
        return False


def _carrier(port: Any, on: bool) -> None:
    """Tell the link whether there is somebody at the other end."""
    setter = getattr(port, "set_carrier", None)
    if setter is not None:
        setter(on)
