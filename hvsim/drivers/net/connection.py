"""What a netfront shares with one backend: the rings of its queues, event channels, data pages.

All of it belongs to that backend alone and is given up as a whole; a new backend gets a new one, in
fresh, zeroed frames, so that no frame of another life can leak through padding (XSA-403).  Pages
are granted once, when the connection is made, and stay granted until it ends
(``feature-persistent``, as blkfront has it): the backend maps each of them once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hvsim.abi.netif import NET_RX_RING_SIZE, NET_TX_RING_SIZE
from hvsim.domain.ring import FrontRing
from hvsim.drivers.block.connection import Leftovers
from hvsim.drivers.net.protocol import (
    RX_REQUEST_BYTES,
    RX_RESPONSE_BYTES,
    TX_REQUEST_BYTES,
    TX_RESPONSE_BYTES,
)
from hvsim.drivers.net.receive import FrontReceiver
from hvsim.drivers.net.transmit import FrontTransmitter

if TYPE_CHECKING:
    from hvsim.domain import Domain

RING_PAGES: Final = 2
"""Of one queue: TX, RX."""
DATA_PAGES: Final = NET_TX_RING_SIZE + NET_RX_RING_SIZE


class Queue:
    """One queue: two rings, one or two ports, and its pages.

    Attributes:
        tx_ref, rx_ref: grant references of the rings.
        tx_port, rx_port: event channels; the same one unless split.
    """

    def __init__(self, tx_ref: int, rx_ref: int, tx_port: int, rx_port: int) -> None:
        self.tx_ref = tx_ref
        self.rx_ref = rx_ref
        self.tx_port = tx_port
        self.rx_port = rx_port
        self.tx: FrontTransmitter
        self.rx: FrontReceiver

    def keys(self, prefix: str, split: bool) -> dict[str, str | int]:
        """What the backend reads of it, in Linux' order."""
        keys: dict[str, str | int] = {
            f"{prefix}tx-ring-ref": self.tx_ref,
            f"{prefix}rx-ring-ref": self.rx_ref,
        }
        if split:
            keys |= {
                f"{prefix}event-channel-tx": self.tx_port,
                f"{prefix}event-channel-rx": self.rx_port,
            }
        else:
            keys[f"{prefix}event-channel"] = self.tx_port
        return keys


class Connection:
    """Queues for backend domain `peer`.

    Attributes:
        queues: at least one.
        split: whether each has two ports.
    """

    def __init__(
        self,
        dom: Domain,
        leftovers: Leftovers,
        peer: int,
        nr_queues: int,
        split: bool,
        tx_event: Callable[[int], Callable[[], None]],
        rx_event: Callable[[int], Callable[[], None]],
    ) -> None:
        """`tx_event` and `rx_event` give the handler for the queue of a number; without split
        ports that of `rx_event` serves both.

        Raises: HypercallError(ENOMEM, ENOSPC), GrantTableFull; nothing is kept then.
        """
        self.peer = peer
        self.split = split
        self.queues: list[Queue] = []
        self._dom = dom
        self._leftovers = leftovers
        self._ports: list[int] = []
        self._refs: list[int] = []
        self._closed = False
        self._extent = dom.memory.allocate(nr_queues * (RING_PAGES + DATA_PAGES))
        try:
            gfns = [self._extent.gfn(page) for page in range(self._extent.nr_pages)]
            self._refs = dom.grants.grant_many(peer, gfns)
            for number in range(nr_queues):
                self._open(number, nr_queues, tx_event(number), rx_event(number))
        except BaseException:
            self.close()
            raise

    def _open(
        self,
        number: int,
        nr_queues: int,
        tx_event: Callable[[], None],
        rx_event: Callable[[], None],
    ) -> None:
        extent, refs = self._extent, self._refs
        events = self._dom.events
        rx_port = events.alloc_unbound(self.peer, rx_event)
        self._ports.append(rx_port)
        tx_port = rx_port
        if self.split:
            tx_port = events.alloc_unbound(self.peer, tx_event)
            self._ports.append(tx_port)
        ring = number * RING_PAGES
        queue = Queue(refs[ring], refs[ring + 1], tx_port, rx_port)
        first = nr_queues * RING_PAGES + number * DATA_PAGES
        split = first + NET_TX_RING_SIZE
        queue.tx = FrontTransmitter(
            FrontRing(extent.page(ring), TX_REQUEST_BYTES, TX_RESPONSE_BYTES),
            [extent.page(page) for page in range(first, split)],
            refs[first:split],
        )
        queue.rx = FrontReceiver(
            FrontRing(extent.page(ring + 1), RX_REQUEST_BYTES, RX_RESPONSE_BYTES),
            [extent.page(page) for page in range(split, first + DATA_PAGES)],
            refs[split : first + DATA_PAGES],
        )
        self.queues.append(queue)

    def close(self) -> None:
        """Give everything up.  Idempotent."""
        if self._closed:
            return
        self._closed = True
        for port in self._ports:
            self._dom.events.close(port)
        for queue in self.queues:
            queue.tx.release()
            queue.rx.release()
        self._leftovers.bury(self._extent, self._refs)
