"""netfront: a virtual network interface of a guest.

With a port it pumps frames between the rings and the guest's own network stack.  Without one it is
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

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from hvsim.abi.xenbus import XenbusState
from hvsim.drivers.block.connection import Leftovers
from hvsim.drivers.capture.tap import Tap
from hvsim.drivers.counters import Counters
from hvsim.drivers.net.connection import Connection
from hvsim.drivers.net.features import number
from hvsim.drivers.net.interface import Interface
from hvsim.drivers.net.offload import VNET
from hvsim.drivers.net.protocol import VifInfo
from hvsim.drivers.net.statistics import figures
from hvsim.errors import Closed, TimedOut

if TYPE_CHECKING:
    from hvsim.domain import Domain
    from hvsim.domain.xenbus.device import FrontendDevice

DEFAULT_TIMEOUT: Final = 30.0

MakePort = Callable[[VifInfo], Any]
"""Makes the port (see `port.py`) of an interface; None for the packet interface."""


class _Interfaces:
    """Those of one domain, by number, and who makes their ports."""

    def __init__(self, make_port: MakePort) -> None:
        self.make_port = make_port
        self.found: dict[int, NetFront] = {}


class NetFront(Interface):
    """One virtual interface.  Get it with `NetFront.open`; the bus makes it."""

    def __init__(self, dom: Domain, interfaces: _Interfaces) -> None:
        super().__init__(dom)
        self._interfaces = interfaces
        self._device: FrontendDevice | None = None
        self._leftovers = Leftovers(dom)
        self._last: Mapping[str, int] = figures([], [])
        options = dom.args.get("vif")
        self._options: dict[str, Any] = options if isinstance(options, dict) else {}

    # -- finding it ------------------------------------------------------------------------

    @staticmethod
    def register(dom: Domain, make_port: MakePort = lambda info: None) -> dict[int, NetFront]:
        """Make this domain serve its interfaces, as loading xen-netfront does; idempotent: the
        first `make_port` counts.

        Returns the interfaces by number; it fills as the bus finds them.
        """
        known = _INTERFACES.get(dom)
        if known is None:
            interfaces = known = _INTERFACES[dom] = _Interfaces(make_port)
            dom.frontends.register("vif", lambda: NetFront(dom, interfaces))
        return known.found

    @classmethod
    def open(
        cls, dom: Domain, index: int, port: Any = None, timeout: float = DEFAULT_TIMEOUT
    ) -> NetFront:
        """Interface number `index`, once it is Connected; with `port`, frames go there.

        Raises: TimedOut after `timeout` seconds, which says what state either half was in;
            Closed when the device was closed meanwhile.
        """
        found = cls.register(dom, lambda info: port if info.index == index else None)

        def ready() -> bool:
            nic = found.get(index)
            return nic is not None and (nic._up or nic._dead is not None)

        try:
            dom.wait(ready, timeout, f"vif {index} to connect")
        except TimedOut as late:
            nic = found.get(index)
            state = "no such device in the store" if nic is None else repr(nic._device)
            raise TimedOut(f"vif {index} to connect: {state}", late.seconds) from None
        nic = found[index]
        if nic._dead is not None:
            raise Closed(nic._dead)
        return nic

    def __repr__(self) -> str:
        return f"<NetFront {self.index} {self._device!r} {'up' if self._up else 'down'}>"

    @property
    def connected(self) -> bool:
        """Whether frames pass now."""
        return self._up

    def statistics(self) -> Mapping[str, int]:
        """Figures of the connection (the last ones, when there is none)."""
        connection = self._connection
        if connection is None:
            return self._last
        queues = connection.queues
        return figures(
            [queue.tx.statistics for queue in queues], [queue.rx.statistics for queue in queues]
        )

    # -- the bus's side (hvsim.domain.xenbus.driver.FrontendDriver) ----------------------------

    def probe(self, device: FrontendDevice) -> None:
        """A new device directory: read what it is, and make its port."""
        self._device = device
        self.index = device.device_id
        self._tap = Tap(self._dom, device)
        Counters(self._dom, device, self.statistics)
        mac, mtu = device.read_many(["mac", "mtu"])
        info = VifInfo(
            domid=self._dom.domid,
            index=self.index,
            name=f"eth{self.index}",
            mac=mac or "",
            mtu=number(mtu, 1500),
        )
        self.port = self._interfaces.make_port(info)
        if self.port is not None:
            self._carrier(False)
        self._interfaces.found[self.index] = self

    def otherend_changed(self, state: XenbusState) -> None:
        """The backend's state was reported (netfront's ``netback_changed``)."""
        device = self._the_device
        own = device.state
        match state:
            case XenbusState.InitWait:
                if own == XenbusState.Connected and self._up:
                    # A backend that was bound anew under us: it knows nothing of our rings.
                    self._disconnect()
                    device.switch_state(XenbusState.Initialising)
                    own = device.state
                if own == XenbusState.Initialising:
                    self._publish(device)
            case XenbusState.Connected:
                if own == XenbusState.Initialising:  # InitWait was missed
                    self._publish(device)
                self._rise()
            case XenbusState.Closing | XenbusState.Closed:
                if own != XenbusState.Closed:
                    self._disconnect()
                    device.switch_state(XenbusState.Closed)
            case _:
                pass

    def backend_moved(self) -> None:
        """The device has another backend: the old rings are of no use."""
        self._disconnect()

    def close(self) -> None:
        """Begin an orderly close and return."""
        device = self._device
        if self._dead is None:
            self._dead = f"vif {self.index} was closed"
        if device is not None and device.state == XenbusState.Connected:
            device.switch_state(XenbusState.Closing)

    def removed(self) -> None:
        """The device is gone: nothing of it stays granted, bound or open."""
        self._dead = self._dead or f"vif {self.index} was removed"
        try:
            self._disconnect()
        finally:
            if self._interfaces.found.get(self.index) is self:
                del self._interfaces.found[self.index]
            port, self.port = self.port, None
            if port is not None:
                port.close()
            if self._tap is not None:
                self._tap.close()

    @property
    def _the_device(self) -> FrontendDevice:
        assert self._device is not None, "the bus probes first"
        return self._device

    # -- connecting --------------------------------------------------------------------------

    def _publish(self, device: FrontendDevice) -> None:
        """Rings, ports and features for the backend; Connected."""
        self._disconnect()
        split, most, persistent, sg, tso4, tso6 = device.read_otherend_many(
            [
                "feature-split-event-channels",
                "multi-queue-max-queues",
                "feature-persistent",
                "feature-sg",
                "feature-gso-tcpv4",
                "feature-gso-tcpv6",
            ]
        )
        wanted = number(str(self._options.get("queues", 1)), 1)
        count = max(1, min(wanted, number(most, 1)))
        self._connection = connection = Connection(
            self._dom,
            self._leftovers,
            device.otherend_id,
            count,
            number(split) != 0,
            lambda index: lambda: self._tx_event(index),
            lambda index: lambda: self._rx_event(index),
        )
        for index, queue in enumerate(connection.queues):
            queue.rx.post()
            self._expect(index, queue)
        device.write("xdp-headroom", 0)
        keys: dict[str, str | int] = {}
        if most is not None:
            keys["multi-queue-num-queues"] = count
        for index, queue in enumerate(connection.queues):
            keys |= queue.keys("" if count == 1 else f"queue-{index}/", connection.split)
        keys |= {
            "request-rx-copy": 1,
            "feature-rx-notify": 1,
            "feature-sg": 1,
            "feature-gso-tcpv4": 1,
            "feature-gso-tcpv6": 1,
            "feature-ipv6-csum-offload": 1,
        }
        if number(persistent):
            keys["feature-persistent"] = 1
        device.write_many(keys, "publish the rings")
        if self.port is not None and hasattr(self.port, "set_offloads"):
            chained = number(sg) != 0
            self.port.set_offloads(
                checksum=True,
                tso4=chained and number(tso4) != 0,
                tso6=chained and number(tso6) != 0,
            )
        device.switch_state(XenbusState.Connected)

    def _rise(self) -> None:
        """The backend is Connected, too."""
        if self._up or self._connection is None:
            return
        self._up = True
        self._carrier(True)
        self._listen()
        for queue in self._connection.queues:
            if queue.rx.post():
                self._dom.events.notify(queue.rx_port)
        if self.port is not None:
            self._announce()

    def _announce(self) -> None:
        """Tell the link who we are, as Linux' netfront does whenever it has connected
        (netdev_notify_peers): who asked before we were there is answered."""
        queue = self._queues[0]
        for data in getattr(self.port, "announcements", ()):
            if queue.tx.room:
                queue.tx.send(data[VNET.size :], data[: VNET.size], self._tap)
        self._push(queue)

    def _disconnect(self) -> None:
        self._stop_listening()
        if self._up:
            self._up = False
            self._carrier(False)
        for patience in self._patience.values():
            patience.close()
        self._patience.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            queues = connection.queues
            self._last = figures(
                [queue.tx.statistics for queue in queues],
                [queue.rx.statistics for queue in queues],
            )
            connection.close()

    def _carrier(self, on: bool) -> None:
        setter = getattr(self.port, "set_carrier", None)
        if setter is not None:
            setter(on)

    def _break(self, why: str) -> None:
        """The backend broke the protocol: it is not talked to again."""
        self._dead = f"vif {self.index}: {why}"
        self._disconnect()
        self._the_device.fatal(22, f"the backend broke the protocol: {why}")


_INTERFACES: Final[WeakKeyDictionary[Domain, _Interfaces]] = WeakKeyDictionary()
