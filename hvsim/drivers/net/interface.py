"""A network interface at work: frames between a link, or a program, and the rings of netfront.

It knows nothing of the store; `front.py` finds it, connects it and takes the connection away.  What
passes meanwhile passes here, in turns of a bounded number of frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from hvsim.drivers.net.link import carrier
from hvsim.drivers.net.listener import Listener
from hvsim.drivers.net.offload import HEADERS, PLAIN, VNET, flow
from hvsim.drivers.net.protocol import ETH_HLEN
from hvsim.drivers.net.receive import read_whole
from hvsim.drivers.net.statistics import Direction, figures
from hvsim.drivers.net.transmit import write_frame
from hvsim.drivers.split.late_eoi import LateEoi
from hvsim.errors import BrokenByPeer, Closed

if TYPE_CHECKING:
    from hvsim.domain import Domain
    from hvsim.drivers.capture.tap import Tap
    from hvsim.drivers.net.ring import FrontConnection, FrontQueue

TURN: Final = 64
"""Frames of one direction before other devices have their turn."""
RECEIVED_MAX: Final = 512
"""Frames that wait for `receive`; what comes on top is dropped and counted."""


class Interface:
    """One virtual interface.  Programs get it with `NetFront.open`.

    Args:
        broken: called with why, when the backend has broken the protocol.
        closing: begins an orderly close.

    Attributes:
        index: the number of the interface.
        link: between us and the guest's stack; None for the packet interface.
        connection: what is shared with the backend now; None while there is none.
        connected: whether frames pass now.
        dead: why nothing passes any more; None while something may.
        tap: where frames are copied for a capture.
    """

    def __init__(
        self, dom: Domain, *, broken: Callable[[str], None], closing: Callable[[], None]
    ) -> None:
        self.index = -1
        self.link: Any = None
        self.connection: FrontConnection | None = None
        self.connected = False
        self.dead: str | None = None
        self.tap: Tap | None = None
        self._dom = dom
        self._broken = broken
        self._closing = closing
        self._listener: Listener | None = None
        self._eoi: dict[int, LateEoi] = {}
        self._last: Mapping[str, int] = figures([], [])
        self._received: deque[tuple[bytes, bytes]] = deque()

    def __repr__(self) -> str:
        return f"<Interface {self.index} {'up' if self.connected else 'down'}>"

    def statistics(self) -> Mapping[str, int]:
        """Figures of the connection (the last ones, when there is none)."""
        queues = self.queues
        if not queues:
            return self._last
        return figures(
            [queue.tx.statistics for queue in queues], [queue.rx.statistics for queue in queues]
        )

    def close(self) -> None:
        """Begin an orderly close and return."""
        if self.dead is None:
            self.dead = f"vif {self.index} was closed"
        self._closing()

    @property
    def received(self) -> int:
        """Frames that wait for `receive`."""
        return len(self._received)

    # -- the packet interface ----------------------------------------------------------------

    def send(self, frame: bytes, vnet_hdr: bytes | None = None, timeout: float = 5.0) -> None:
        """Send an Ethernet frame, waiting for room on the ring or for a new backend if need be.

        Raises: ValueError for a frame that is none; TimedOut; Closed.
        """
        vnet = PLAIN if vnet_hdr is None else vnet_hdr
        if len(frame) < ETH_HLEN or len(vnet) != VNET.size:
            raise ValueError(f"a frame of {len(frame)} bytes behind a header of {len(vnet)}")
        which = self._which(frame)
        self._dom.wait(lambda: self._room(which), timeout, f"room on the ring of vif {self.index}")
        self._check()
        queue = self.queues[which % len(self.queues)]
        queue.tx.send(frame, vnet, self.tap, which)
        self.push(queue)

    def receive(self, timeout: float = 5.0) -> bytes:
        """The next frame.  Raises: TimedOut; Closed."""
        return self.receive_vnet(timeout)[1]

    def receive_vnet(self, timeout: float = 5.0) -> tuple[bytes, bytes]:
        """(virtio_net_hdr, the next frame).  Raises: TimedOut; Closed."""
        self._dom.wait(
            lambda: bool(self._received) or self.dead is not None,
            timeout,
            f"a frame on vif {self.index}",
        )
        if not self._received:
            self._check()
        return self._received.popleft()

    def _check(self) -> None:
        if self.dead is not None:
            raise Closed(self.dead)

    def _room(self, which: int) -> bool:
        if self.dead is not None:
            return True
        queues = self.queues
        if not self.connected or not queues:
            return False
        return self._has_room(queues[which % len(queues)])

    @property
    def queues(self) -> list[FrontQueue]:
        """Those of the connection; none without one."""
        return [] if self.connection is None else self.connection.queues

    def _which(self, frame: bytes) -> int:
        count = len(self.queues)
        return flow(frame[:HEADERS]) % count if count > 1 else 0

    # -- the driver's side (front.py) ----------------------------------------------------------

    def publish(self, connection: FrontConnection) -> None:
        """A backend is offered this connection, with empty pages; no frame passes yet."""
        self.connection = connection
        for index, queue in enumerate(connection.queues):
            queue.rx.post()
            self._expect(index, queue)

    def connect(self) -> None:
        """The backend has taken it: frames pass from now on."""
        connection = self.connection
        if self.connected or connection is None:
            return
        self.connected = True
        carrier(self.link, True)
        self._listen()
        for queue in connection.queues:
            if queue.rx.post():
                self._dom.events.notify(queue.rx_port)
        self._announce(connection.queues[0])

    def _announce(self, queue: FrontQueue) -> None:
        """Tell the link who we are, as Linux' netfront does whenever it has connected
        (netdev_notify_peers): who asked before we were there is answered."""
        if self.link is None:
            return
        for data in getattr(self.link, "announcements", ()):
            if queue.tx.room:
                queue.tx.send(data[VNET.size :], data[: VNET.size], self.tap)
        self.push(queue)

    def look_again(self) -> None:
        """The rings were seated anew: say what is published there, and see what was answered."""
        if not self.connected:
            return
        for index, queue in enumerate(self.queues):
            queue.tx.push()
            queue.rx.ring.push()
            for port in {queue.tx_port, queue.rx_port}:
                self._dom.events.notify(port)
            self._dom.vcpu.call_later(0.0, partial(self._look, index))

    def _look(self, index: int) -> None:
        self.rx_event(index)
        self.tx_event(index)

    def disconnect(self) -> None:
        """Give up what is shared with the backend."""
        self._stop_listening()
        if self.connected:
            self.connected = False
            carrier(self.link, False)
        for eoi in self._eoi.values():
            eoi.close()
        self._eoi.clear()
        self._last = self.statistics()
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def end(self, why: str) -> None:
        """Nothing passes any more; the link is closed."""
        self.dead = self.dead or why
        try:
            self.disconnect()
        finally:
            link, self.link = self.link, None
            if link is not None:
                link.close()
            if self.tap is not None:
                self.tap.close()

    # -- work --------------------------------------------------------------------------------

    def _listen(self) -> None:
        if self.link is not None:
            if self._listener is None:
                self._listener = Listener(
                    self._dom.vcpu, self.link, self._readable, self._tagged_readable
                )
            self._listener.start()

    def _listening(self) -> bool:
        return self._listener is not None and self._listener.on

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.stop()

    def _has_room(self, queue: FrontQueue) -> bool:
        """Whether a frame fits; if not, the backend is asked for a bell when one does."""
        tx = queue.tx
        if tx.room:
            return True
        try:
            tx.collect()
            if not tx.room and tx.ring.final_check():
                tx.collect()
        except BrokenByPeer as failed:
            self._broken(str(failed))
            return False
        return tx.room

    def _readable(self) -> None:
        """Frames of the guest: into its TX rings, as much as one turn allows."""
        queues = self.queues
        if not queues or not self.connected:
            return
        try:
            full = self._send_one(queues[0]) if len(queues) == 1 else self._send_many(queues)
        except OSError as failed:
            self._dom.log(f"eth{self.index}: the link has gone: {failed}")
            self._stop_listening()
            return
        for queue in self.queues:
            self.push(queue)
        if full:
            self._stop_listening()

    def _tagged_readable(self) -> None:
        """Frames of a VLAN that the guest sends: few, and read one by one."""
        queues = self.queues
        if not queues or not self.connected:
            return
        full = False
        for _ in range(TURN):
            full = not all(self._has_room(queue) for queue in queues)
            found = None if full else self.link.tagged.read()
            if found is None:
                break
            vnet, frame = found
            which = self._which(frame)
            queues[which].tx.send(frame, vnet, self.tap, which)
        for queue in self.queues:
            self.push(queue)
        if full:
            self._stop_listening()

    def _send_one(self, queue: FrontQueue) -> bool:
        tx, fd, tap = queue.tx, self.link.fd, self.tap
        for _ in range(TURN):
            if not self._has_room(queue):
                return True
            found = tx.read_frame(fd)
            if found is None:
                return False
            tx.issue(*found, tap)
        return False

    def _send_many(self, queues: list[FrontQueue]) -> bool:
        for _ in range(TURN):
            if not all(self._has_room(queue) for queue in queues):
                return True
            found = read_whole(self.link.fd)
            if found is None:
                return False
            vnet, frame = found
            which = flow(frame[:HEADERS]) % len(queues)
            queues[which].tx.send(frame, vnet, self.tap, which)
        return False

    def push(self, queue: FrontQueue) -> None:
        """Publish what was put on a queue, and wake the backend if it asked."""
        if queue.tx.push():
            self._dom.events.notify(queue.tx_port)

    def _expect(self, index: int, queue: FrontQueue) -> None:
        """Have patience with the backend behind the ports of a queue."""
        dom = self._dom
        self._eoi[queue.rx_port] = LateEoi(dom, queue.rx_port, lambda: self.rx_event(index))
        if queue.tx_port != queue.rx_port:
            self._eoi[queue.tx_port] = LateEoi(dom, queue.tx_port, lambda: self.tx_event(index))

    def tx_event(self, index: int) -> None:
        """The backend has answered."""
        connection = self.connection
        if connection is None or index >= len(connection.queues):
            return
        queue = connection.queues[index]
        worked = self._answers(connection, queue)
        if self.connection is connection:
            self._eoi[queue.tx_port].end(worked)

    def _answers(self, connection: FrontConnection, queue: FrontQueue) -> bool:
        """Take the answers: there may be room again.  Whether there were any."""
        before = queue.tx.ring.rsp_cons
        try:
            queue.tx.collect()
        except BrokenByPeer as failed:
            self._broken(str(failed))
            return True
        worked = queue.tx.ring.rsp_cons != before
        if self.connected and not self._listening() and self._has_room(queue):
            self._listen()
        return worked

    def rx_event(self, index: int) -> None:
        """Frames for the guest."""
        connection = self.connection
        if connection is None or index >= len(connection.queues):
            return
        queue = connection.queues[index]
        worked = not connection.split and self._answers(connection, queue)
        if self.connection is not connection:
            return
        before = queue.rx.ring.rsp_cons
        tap = self.tap
        statistics = queue.rx.statistics

        def deliver(vnet: bytes, parts: list[bytes | memoryview], size: int) -> None:
            if tap is not None and tap.on:
                tap.frame(b"".join(parts), vnet, sent=False, queue=index)
            self._deliver(vnet, parts, size, statistics)

        try:
            more = queue.rx.run(TURN, deliver)
            if self.connection is not connection:
                return
            if queue.rx.post():
                self._dom.events.notify(queue.rx_port)
            if not more:
                more = queue.rx.ring.final_check()
        except BrokenByPeer as broken:
            self._broken(str(broken))
            return
        worked = worked or queue.rx.ring.rsp_cons != before
        self._eoi[queue.rx_port].end(worked)
        if more:
            self._dom.vcpu.call_later(0.0, lambda: self._again(connection, index))

    def _again(self, connection: FrontConnection, index: int) -> None:
        if self.connection is connection:
            self.rx_event(index)

    def _deliver(
        self, vnet: bytes, parts: list[bytes | memoryview], size: int, statistics: Direction
    ) -> None:
        if self.link is not None:
            write_frame(self.link.fd, vnet, parts, size, statistics)
        elif len(self._received) >= RECEIVED_MAX:
            statistics.drop("not_received")
        else:
            statistics.count(size)
            self._received.append((vnet, b"".join(parts)))
