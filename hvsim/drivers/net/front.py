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
with fresh rings, and announces the guest's addresses on the new link.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from hvsim.abi.xenbus import XenbusState
from hvsim.domain.ring import RingBroken
from hvsim.domain.vcpu import WaitTimeout
from hvsim.drivers.block.connection import Leftovers
from hvsim.drivers.capture.tap import Tap
from hvsim.drivers.counters import Counters
from hvsim.drivers.net.connection import Connection, Queue
from hvsim.drivers.net.features import number
from hvsim.drivers.net.offload import HEADERS, PLAIN, VNET, flow
from hvsim.drivers.net.patience import Patience
from hvsim.drivers.net.protocol import ETH_HLEN, VifInfo
from hvsim.drivers.net.receive import read_whole
from hvsim.drivers.net.statistics import Direction, figures
from hvsim.drivers.net.transmit import BackendMisbehaves, write_frame

if TYPE_CHECKING:
    from hvsim.domain import Domain
    from hvsim.domain.xenbus.device import FrontendDevice

TURN: Final = 64
"""Frames of one direction before other devices have their turn."""
RECEIVED_MAX: Final = 512
"""Frames that wait for `receive`; what comes on top is dropped and counted."""
DEFAULT_TIMEOUT: Final = 30.0

MakePort = Callable[[VifInfo], Any]
"""Makes the port (see `port.py`) of an interface; None for the packet interface."""


class NetClosed(Exception):
    """The interface was closed, or its backend broke the protocol: nothing passes any more."""


class _Interfaces:
    """Those of one domain, by number, and who makes their ports."""

    def __init__(self, make_port: MakePort) -> None:
        self.make_port = make_port
        self.found: dict[int, NetFront] = {}


class NetFront:
    """One virtual interface.  Get it with `NetFront.open`; the bus makes it.

    Attributes:
        index: the number of the interface.
        port: between us and the guest's stack; None for the packet interface.
    """

    def __init__(self, dom: Domain, interfaces: _Interfaces) -> None:
        self.index = -1
        self.port: Any = None
        self._dom = dom
        self._interfaces = interfaces
        self._device: FrontendDevice | None = None
        self._connection: Connection | None = None
        self._patience: dict[int, Patience] = {}
        self._leftovers = Leftovers(dom)
        self._tap: Tap | None = None
        self._up = False
        self._connects = 0
        self._dead: str | None = None
        self._reading = False
        self._received: deque[tuple[bytes, bytes]] = deque()
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

        Raises: WaitTimeout after `timeout` seconds, which says what state either half was in;
            NetClosed when the device was closed meanwhile.
        """
        found = cls.register(dom, lambda info: port if info.index == index else None)

        def ready() -> bool:
            nic = found.get(index)
            return nic is not None and (nic._up or nic._dead is not None)

        try:
            dom.wait(ready, timeout, f"vif {index} to connect")
        except WaitTimeout as late:
            nic = found.get(index)
            state = "no such device in the store" if nic is None else repr(nic._device)
            raise WaitTimeout(f"vif {index} to connect: {state}", late.seconds) from None
        nic = found[index]
        if nic._dead is not None:
            raise NetClosed(nic._dead)
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

    # -- the packet interface ----------------------------------------------------------------

    def send(self, frame: bytes, vnet_hdr: bytes | None = None, timeout: float = 5.0) -> None:
        """Send an Ethernet frame, waiting for room on the ring or for a new backend if need be.

        Raises: ValueError for a frame that is none; WaitTimeout; NetClosed.
        """
        vnet = PLAIN if vnet_hdr is None else vnet_hdr
        if len(frame) < ETH_HLEN or len(vnet) != VNET.size:
            raise ValueError(f"a frame of {len(frame)} bytes behind a header of {len(vnet)}")
        which = self._which(frame)
        self._dom.wait(lambda: self._room(which), timeout, f"room on the ring of vif {self.index}")
        self._check()
        queue = self._queues[which % len(self._queues)]
        queue.tx.send(frame, vnet, self._tap, which)
        self._push(queue)

    def receive(self, timeout: float = 5.0) -> bytes:
        """The next frame.  Raises: WaitTimeout; NetClosed."""
        return self.receive_vnet(timeout)[1]

    def receive_vnet(self, timeout: float = 5.0) -> tuple[bytes, bytes]:
        """(virtio_net_hdr, the next frame).  Raises: WaitTimeout; NetClosed."""
        self._dom.wait(
            lambda: bool(self._received) or self._dead is not None,
            timeout,
            f"a frame on vif {self.index}",
        )
        if not self._received:
            self._check()
        return self._received.popleft()

    def _check(self) -> None:
        if self._dead is not None:
            raise NetClosed(self._dead)

    def _room(self, which: int) -> bool:
        if self._dead is not None:
            return True
        queues = self._queues
        if not self._up or not queues:
            return False
        return self._has_room(queues[which % len(queues)])

    @property
    def _queues(self) -> list[Queue]:
        return [] if self._connection is None else self._connection.queues

    def _which(self, frame: bytes) -> int:
        count = len(self._queues)
        return flow(frame[:HEADERS]) % count if count > 1 else 0

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
        self._connects += 1
        self._carrier(True)
        self._listen()
        for queue in self._connection.queues:
            if queue.rx.post():
                self._dom.events.notify(queue.rx_port)
        if self._connects > 1 and self.port is not None:
            self._announce()

    def _announce(self) -> None:
        """Tell the new link who we are: it knows of no address of ours."""
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

    # -- work --------------------------------------------------------------------------------

    def _listen(self) -> None:
        if self.port is not None and not self._reading:
            self._reading = True
            self._dom.vcpu.add_fd(self.port.fd, self._readable)

    def _stop_listening(self) -> None:
        if self._reading:
            self._reading = False
            self._dom.vcpu.remove_fd(self.port.fd)

    def _has_room(self, queue: Queue) -> bool:
        """Whether a frame fits; if not, the backend is asked for a bell when one does."""
        tx = queue.tx
        if tx.room:
            return True
        try:
            tx.collect()
            if not tx.room and tx.ring.final_check():
                tx.collect()
        except (RingBroken, BackendMisbehaves) as failed:
            self._break(str(failed))
            return False
        return tx.room

    def _readable(self) -> None:
        """Frames of the guest: into its TX rings, as much as one turn allows."""
        queues = self._queues
        if not queues or not self._up:
            return
        try:
            full = self._send_one(queues[0]) if len(queues) == 1 else self._send_many(queues)
        except OSError as failed:
            self._dom.log(f"eth{self.index}: the link has gone: {failed}")
            self._stop_listening()
            return
        for queue in self._queues:
            self._push(queue)
        if full:
            self._stop_listening()

    def _send_one(self, queue: Queue) -> bool:
        tx, fd, tap = queue.tx, self.port.fd, self._tap
        for _ in range(TURN):
            if not self._has_room(queue):
                return True
            found = tx.read_frame(fd)
            if found is None:
                return False
            tx.issue(*found, tap)
        return False

    def _send_many(self, queues: list[Queue]) -> bool:
        for _ in range(TURN):
            if not all(self._has_room(queue) for queue in queues):
                return True
            found = read_whole(self.port.fd)
            if found is None:
                return False
            vnet, frame = found
            which = flow(frame[:HEADERS]) % len(queues)
            queues[which].tx.send(frame, vnet, self._tap, which)
        return False

    def _push(self, queue: Queue) -> None:
        if queue.tx.push():
            self._dom.events.notify(queue.tx_port)

    def _expect(self, index: int, queue: Queue) -> None:
        """Have patience with the backend behind the ports of a queue."""
        dom = self._dom
        self._patience[queue.rx_port] = Patience(dom, queue.rx_port, lambda: self._rx_event(index))
        if queue.tx_port != queue.rx_port:
            self._patience[queue.tx_port] = Patience(
                dom, queue.tx_port, lambda: self._tx_event(index)
            )

    def _tx_event(self, index: int) -> None:
        """The backend has answered."""
        connection = self._connection
        if connection is None or index >= len(connection.queues):
            return
        queue = connection.queues[index]
        worked = self._answers(connection, queue)
        if self._connection is connection:
            self._patience[queue.tx_port].heard(worked)

    def _answers(self, connection: Connection, queue: Queue) -> bool:
        """Take the answers: there may be room again.  Whether there were any."""
        before = queue.tx.ring.rsp_cons
        try:
            queue.tx.collect()
        except (RingBroken, BackendMisbehaves) as failed:
            self._break(str(failed))
            return True
        worked = queue.tx.ring.rsp_cons != before
        if not self._reading and self._up and self._has_room(queue):
            self._listen()
        return worked

    def _rx_event(self, index: int) -> None:
        """Frames for the guest."""
        connection = self._connection
        if connection is None or index >= len(connection.queues):
            return
        queue = connection.queues[index]
        worked = not connection.split and self._answers(connection, queue)
        if self._connection is not connection:
            return
        before = queue.rx.ring.rsp_cons
        tap = self._tap
        statistics = queue.rx.statistics

        def deliver(vnet: bytes, parts: list[bytes | memoryview], size: int) -> None:
            if tap is not None and tap.on:
                tap.frame(b"".join(parts), vnet, sent=False, queue=index)
            self._deliver(vnet, parts, size, statistics)

        try:
            more = queue.rx.run(TURN, deliver)
            if self._connection is not connection:
                return
            if queue.rx.post():
                self._dom.events.notify(queue.rx_port)
            if not more:
                more = queue.rx.ring.final_check()
        except RingBroken as broken:
            self._break(str(broken))
            return
        worked = worked or queue.rx.ring.rsp_cons != before
        self._patience[queue.rx_port].heard(worked)
        if more:
            self._dom.vcpu.call_later(0.0, lambda: self._again(connection, index))

    def _again(self, connection: Connection, index: int) -> None:
        if self._connection is connection:
            self._rx_event(index)

    def _deliver(
        self, vnet: bytes, parts: list[bytes | memoryview], size: int, statistics: Direction
    ) -> None:
        if self.port is not None:
            write_frame(self.port.fd, vnet, parts, size, statistics)
        elif len(self._received) >= RECEIVED_MAX:
            statistics.drop("not_received")
        else:
            statistics.count(size)
            self._received.append((vnet, b"".join(parts)))


_INTERFACES: Final[WeakKeyDictionary[Domain, _Interfaces]] = WeakKeyDictionary()
