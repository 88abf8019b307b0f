"""netfront: a virtual network interface of a guest.

With a link it pumps frames between the rings and the guest's own network stack.  Without one it is
an interface for programs and tests:

    nic = NetFront.open(dom, 0)
    nic.send(frame)
    frame = nic.receive(timeout=1.0)

The handshake is that of Linux' netfront: when the backend is in InitWait, rings, ports and features
in one transaction, then Connected at once; frames pass when the backend is Connected as well.

**When the backend dies**, frames wait in the guest's stack, and some on the ring are lost: what
TCP is for.  Once the toolstack has pointed the device at a new backend the driver connects to it,
with fresh rings.  Whenever it has connected it announces the guest's addresses on the link.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from hvsim.abi.xenbus import XenbusState
from hvsim.domain.seams import FRONT_RING, FRONT_RX_RING, PORT
from hvsim.drivers.capture.tap import Tap
from hvsim.drivers.net.features import BACK_KEYS, FRONT_OFFERS, BackFeatures
from hvsim.drivers.net.interface import Interface
from hvsim.drivers.net.link import carrier, offloads
from hvsim.drivers.net.protocol import VifInfo
from hvsim.drivers.net.ring import FrontConnection
from hvsim.drivers.split.deferred import DeferredGrants
from hvsim.drivers.split.numbers import number
from hvsim.drivers.split.statistics import Counters
from hvsim.drivers.split.waiting import connected
from hvsim.errors import Closed

if TYPE_CHECKING:
    from hvsim.domain import Domain
    from hvsim.domain.xenbus.device import FrontendDevice

DEFAULT_TIMEOUT: Final = 30.0

MakeLink = Callable[[VifInfo], Any]
"""Makes the link (see `link.py`) of an interface; None for the packet interface."""


class _Interfaces:
    """Those of one domain, by number, and who makes their links."""

    def __init__(self, make_link: MakeLink) -> None:
        self.make_link = make_link
        self.found: dict[int, Interface] = {}


class NetFront:
    """The driver of one virtual interface.  The bus makes it; programs use its `Interface`.

    Attributes:
        nic: what programs use.
        deferred: what earlier backends hold on to.
    """

    def __init__(self, dom: Domain, interfaces: _Interfaces) -> None:
        self.nic = Interface(dom, broken=self._break, closing=self._begin_close)
        self._dom = dom
        self._interfaces = interfaces
        self._device: FrontendDevice | None = None
        self.deferred = DeferredGrants(dom)
        options = dom.args.get("vif")
        self._options: dict[str, object] = options if isinstance(options, dict) else {}

    # -- finding it ------------------------------------------------------------------------

    @staticmethod
    def register(dom: Domain, make_link: MakeLink = lambda info: None) -> dict[int, Interface]:
        """Make this domain serve its interfaces, as loading xen-netfront does; idempotent: the
        first `make_link` counts.

        Returns the interfaces by number; it fills as the bus finds them.
        """
        known = _INTERFACES.get(dom)
        if known is None:
            interfaces = known = _INTERFACES[dom] = _Interfaces(make_link)
            dom.frontends.register("vif", lambda: NetFront(dom, interfaces))
        return known.found

    @classmethod
    def open(
        cls, dom: Domain, index: int, link: Any = None, timeout: float = DEFAULT_TIMEOUT
    ) -> Interface:
        """Interface number `index`, once it is Connected; with `link`, frames go there.

        Raises: TimedOut after `timeout` seconds, which says what state either half was in;
            Closed when the device was closed meanwhile.
        """
        found = cls.register(dom, lambda info: link if info.index == index else None)
        nic = connected(dom, "vif", index, found, timeout)
        if nic.dead is not None:
            raise Closed(nic.dead)
        return nic

    def __repr__(self) -> str:
        return f"<NetFront {self._device!r} {self.nic!r}>"

    def statistics(self) -> Mapping[str, int]:
        """Those of the interface."""
        return self.nic.statistics()

    # -- the bus's side (hvsim.domain.xenbus.driver.Front) ----------------------------

    def probe(self, device: FrontendDevice) -> None:
        """A new device directory: read what it is, and make its link."""
        self._device = device
        nic = self.nic
        nic.index = device.device_id
        nic.tap = Tap(self._dom, device)
        Counters(self._dom, device, nic.statistics)
        mac, mtu = device.read_many(["mac", "mtu"])
        info = VifInfo(
            domid=self._dom.domid,
            index=nic.index,
            name=f"eth{nic.index}",
            mac=mac or "",
            mtu=number(mtu, 1500),
        )
        nic.link = self._interfaces.make_link(info)
        carrier(nic.link, False)
        self._interfaces.found[nic.index] = nic
        for seam in (FRONT_RING, FRONT_RX_RING):
            self._dom.seams.follow(seam, self._reseat)

    def otherend_changed(self, state: XenbusState) -> None:
        """The backend's state was reported (netfront's ``netback_changed``)."""
        device = self._the_device
        own = device.state
        match state:
            case XenbusState.InitWait:
                if own == XenbusState.Connected and self.nic.connected:
                    # A backend that was bound anew under us: it knows nothing of our rings.
                    self.nic.disconnect()
                    device.switch_state(XenbusState.Initialising)
                    own = device.state
                if own == XenbusState.Initialising:
                    self._publish(device)
            case XenbusState.Connected:
                if own == XenbusState.Initialising:  # InitWait was missed
                    self._publish(device)
                self.nic.connect()
            case XenbusState.Closing | XenbusState.Closed:
                if own != XenbusState.Closed:
                    self.nic.disconnect()
                    device.switch_state(XenbusState.Closed)
            case _:
                pass

    def backend_moved(self) -> None:
        """The device has another backend: the old rings are of no use."""
        self.nic.disconnect()

    def close(self) -> None:
        """Begin an orderly close and return."""
        self.nic.close()

    def removed(self) -> None:
        """The device is gone: nothing of it stays granted, bound or open."""
        for seam in (FRONT_RING, FRONT_RX_RING):
            self._dom.seams.unfollow(seam, self._reseat)
        try:
            self.nic.end(f"vif {self.nic.index} was removed")
        finally:
            if self._interfaces.found.get(self.nic.index) is self.nic:
                del self._interfaces.found[self.nic.index]

    @property
    def _the_device(self) -> FrontendDevice:
        assert self._device is not None, "the bus probes first"
        return self._device

    # -- connecting --------------------------------------------------------------------------

    def _publish(self, device: FrontendDevice) -> None:
        """Rings, ports and features for the backend; Connected."""
        nic = self.nic
        nic.disconnect()
        offered = BackFeatures.of(device.read_otherend_many(BACK_KEYS))
        wanted = number(str(self._options.get("queues", 1)), 1)
        count = max(1, min(wanted, offered.max_queues or 1))
        connection = FrontConnection(
            self._dom,
            self.deferred,
            device.otherend_id,
            count,
            offered.split,
            lambda index: lambda: nic.tx_event(index),
            lambda index: lambda: nic.rx_event(index),
        )
        for queue in connection.queues:
            queue.seat(self._dom, device)
            for port in (queue.keys.tx_port, queue.keys.rx_port):
                self._dom.seams.hold(PORT, port, device)
        nic.publish(connection)
        device.write("xdp-headroom", 0)
        keys: dict[str, str | int] = {}
        if offered.max_queues is not None:
            keys["multi-queue-num-queues"] = count
        for index, queue in enumerate(connection.queues):
            prefix = "" if count == 1 else f"queue-{index}/"
            keys |= queue.keys.published(prefix, connection.split)
        keys |= FRONT_OFFERS
        if offered.persistent:
            keys["feature-persistent"] = 1
        device.write_many(keys, "publish the rings")
        offloads(nic.link, checksum=True, tso4=offered.gso_tcpv4, tso6=offered.gso_tcpv6)
        device.switch_state(XenbusState.Connected)

    def _reseat(self) -> None:
        """Something came to stand before the rings, or went."""
        for queue in self.nic.queues:
            queue.seat(self._dom, self._the_device)
        self.nic.look_again()

    def _begin_close(self) -> None:
        device = self._device
        if device is not None and device.state == XenbusState.Connected:
            device.switch_state(XenbusState.Closing)

    def _break(self, why: str) -> None:
        """The backend broke the protocol: it is not talked to again."""
        self.nic.dead = f"vif {self.nic.index}: {why}"
        self.nic.disconnect()
        self._the_device.fatal(errno.EINVAL, f"the backend broke the protocol: {why}")


_INTERFACES: Final[WeakKeyDictionary[Domain, _Interfaces]] = WeakKeyDictionary()
