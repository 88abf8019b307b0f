"""A network interface at work: frames between a port, or a program, and the rings of netfront.

`NetFront` (front.py) makes the connection and takes it away; what passes meanwhile passes here, in
turns of a bounded number of frames.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from hvsim.drivers.net.offload import HEADERS, PLAIN, VNET, flow
from hvsim.drivers.net.patience import Patience
from hvsim.drivers.net.protocol import ETH_HLEN
from hvsim.drivers.net.receive import read_whole
from hvsim.drivers.net.statistics import Direction
from hvsim.drivers.net.transmit import write_frame
from hvsim.errors import BrokenByPeer, Closed

if TYPE_CHECKING:
    from hvsim.domain import Domain
    from hvsim.drivers.capture.tap import Tap
    from hvsim.drivers.net.connection import Connection, Queue

TURN: Final = 64
"""Frames of one direction before other devices have their turn."""
RECEIVED_MAX: Final = 512
"""Frames that wait for `receive`; what comes on top is dropped and counted."""


class Interface:
    """What netfront is while it is connected.

    Attributes:
        index: the number of the interface.
        port: between us and the guest's stack; None for the packet interface.
    """

    def __init__(self, dom: Domain) -> None:
        self.index = -1
        self.port: Any = None
        self._dom = dom
        self._connection: Connection | None = None
        self._patience: dict[int, Patience] = {}
        self._tap: Tap | None = None
        self._up = False
        self._dead: str | None = None
        self._reading = False
        self._received: deque[tuple[bytes, bytes]] = deque()

    def _break(self, why: str) -> None:
        """The backend broke the protocol: it is not talked to again."""
        raise NotImplementedError

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
        queue = self._queues[which % len(self._queues)]
        queue.tx.send(frame, vnet, self._tap, which)
        self._push(queue)

    def receive(self, timeout: float = 5.0) -> bytes:
        """The next frame.  Raises: TimedOut; Closed."""
        return self.receive_vnet(timeout)[1]

    def receive_vnet(self, timeout: float = 5.0) -> tuple[bytes, bytes]:
        """(virtio_net_hdr, the next frame).  Raises: TimedOut; Closed."""
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
            raise Closed(self._dead)

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

    # -- work --------------------------------------------------------------------------------

    def _listen(self) -> None:
        if self.port is not None and not self._reading:
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

    def _has_room(self, queue: Queue) -> bool:
        """Whether a frame fits; if not, the backend is asked for a bell when one does."""
        tx = queue.tx
        if tx.room:
            return True
        try:
            tx.collect()
            if not tx.room and tx.ring.final_check():
                tx.collect()
        except BrokenByPeer as failed:
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

    def _tagged_readable(self) -> None:
        """Frames of a VLAN that the guest sends: few, and read one by one."""
        queues = self._queues
        if not queues or not self._up:
            return
        full = False
        for _ in range(TURN):
            full = not all(self._has_room(queue) for queue in queues)
            found = None if full else self.port.tagged.read()
            if found is None:
                break
            vnet, frame = found
            which = self._which(frame)
            queues[which].tx.send(frame, vnet, self._tap, which)
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
        except BrokenByPeer as failed:
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
        except BrokenByPeer as broken:
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
