"""The rings of a vif and what goes with them, as either half has them.

`FrontConnection` is what a netfront shares with one backend: for each of its `FrontQueue`s two
rings, one or two event channels, and data pages.  Pages are granted once, when the connection is
made, and stay granted until it ends (``feature-persistent``, as blkfront has it).  `BackQueue` is
one such queue, mapped and bound by that backend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hvsim.abi.netif import NET_RX_RING_SIZE, NET_TX_RING_SIZE
from hvsim.domain.seams import FRONT_RING, FRONT_RX_RING
from hvsim.drivers.net.protocol import (
    RX_REQUEST_BYTES,
    RX_RESPONSE_BYTES,
    TX_REQUEST_BYTES,
    TX_RESPONSE_BYTES,
)
from hvsim.drivers.net.receive import FrontReceiver
from hvsim.drivers.net.transmit import FrontTransmitter
from hvsim.drivers.split.attach import Attachment
from hvsim.drivers.split.pages import PeerPages
from hvsim.drivers.split.share import Share

if TYPE_CHECKING:
    from hvsim.domain import Domain
    from hvsim.domain.memory import Extent
    from hvsim.domain.xenbus.device import FrontendDevice
    from hvsim.drivers.split.deferred import DeferredGrants

RING_PAGES: Final = 2
"""Of one queue: TX, RX."""
DATA_PAGES: Final = NET_TX_RING_SIZE + NET_RX_RING_SIZE
MAX_PAGES: Final = 1024
"""Pages of one queue that stay mapped: two rings' worth, twice."""


@dataclass(frozen=True, slots=True)
class QueueKeys:
    """What a frontend published of one queue: grant references, and its event channels."""

    tx_ref: int
    rx_ref: int
    tx_port: int
    rx_port: int

    @property
    def split(self) -> bool:
        """Whether it has two ports."""
        return self.tx_port != self.rx_port

    def __str__(self) -> str:
        """As netback names them when they cannot be had."""
        return f"shared-frames {self.tx_ref}/{self.rx_ref} port tx {self.tx_port} rx {self.rx_port}"

    def published(self, prefix: str, split: bool) -> dict[str, str | int]:
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


class FrontQueue:
    """One queue of a frontend: two rings, one or two ports, and its pages.

    Attributes:
        keys: what the backend reads of it.
        tx_port, rx_port: event channels; the same one unless split.
        tx, rx: the frontend's halves of its rings at work.
    """

    def __init__(self, keys: QueueKeys, tx: FrontTransmitter, rx: FrontReceiver) -> None:
        self.keys = keys
        self.tx_port = keys.tx_port
        self.rx_port = keys.rx_port
        self.tx = tx
        self.rx = rx
        self._tx_ring, self._rx_ring = tx.ring, rx.ring

    def seat(self, dom: Domain, device: FrontendDevice) -> None:
        """Use the rings, or what stands before them."""
        self.tx.ring = dom.seams.through(FRONT_RING, self._tx_ring, device)
        self.rx.ring = dom.seams.through(FRONT_RX_RING, self._rx_ring, device)


class FrontConnection:
    """Queues for backend domain `peer`.

    Attributes:
        queues: at least one.
        split: whether each has two ports.
    """

    def __init__(
        self,
        dom: Domain,
        deferred: DeferredGrants,
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
        self.queues: list[FrontQueue] = []
        self._share = Share(dom, deferred, peer)
        try:
            extent, refs = self._share.grant(nr_queues * (RING_PAGES + DATA_PAGES))
            for number in range(nr_queues):
                rx_port = self._share.offer_port(rx_event(number))
                tx_port = self._share.offer_port(tx_event(number)) if split else rx_port
                self._open(extent, refs, number, nr_queues, tx_port, rx_port)
        except BaseException:
            self._share.close()
            raise

    def _open(
        self,
        extent: Extent,
        refs: list[int],
        number: int,
        nr_queues: int,
        tx_port: int,
        rx_port: int,
    ) -> None:
        share = self._share
        ring = number * RING_PAGES
        first = nr_queues * RING_PAGES + number * DATA_PAGES
        split = first + NET_TX_RING_SIZE
        tx = FrontTransmitter(
            share.ring(extent.page(ring), TX_REQUEST_BYTES, TX_RESPONSE_BYTES),
            [extent.page(page) for page in range(first, split)],
            refs[first:split],
        )
        share.before_end(tx.release)
        rx = FrontReceiver(
            share.ring(extent.page(ring + 1), RX_REQUEST_BYTES, RX_RESPONSE_BYTES),
            [extent.page(page) for page in range(split, first + DATA_PAGES)],
            refs[split : first + DATA_PAGES],
        )
        share.before_end(rx.release)
        keys = QueueKeys(refs[ring], refs[ring + 1], tx_port, rx_port)
        self.queues.append(FrontQueue(keys, tx, rx))

    def close(self) -> None:
        """Give everything up.  Idempotent."""
        self._share.close()


class BackQueue:
    """One queue of a frontend, mapped and bound.

    Attributes:
        tx_ring, rx_ring: the backend's halves.
        tx_port, rx_port: local ports; the same one unless split.
        pages: the frontend's, of both rings.
    """

    def __init__(
        self,
        dom: Domain,
        peer: int,
        keys: QueueKeys,
        persistent: bool,
        tx_event: Callable[[], None],
        rx_event: Callable[[], None],
    ) -> None:
        """`rx_event` serves both directions of a frontend with one port for both.

        Raises: GrantError (the rings), HypercallError (the ports); nothing is kept then."""
        self._attachment = attachment = Attachment(dom, peer)
        self.pages = PeerPages(dom.mapper, peer, persistent=persistent, capacity=MAX_PAGES)
        try:
            self.tx_ring = attachment.ring([keys.tx_ref], TX_REQUEST_BYTES, TX_RESPONSE_BYTES)
            self.rx_ring = attachment.ring([keys.rx_ref], RX_REQUEST_BYTES, RX_RESPONSE_BYTES)
            attachment.before_end(self.pages.close)
            self.rx_port = attachment.bind_port(keys.rx_port, rx_event)
            self.tx_port = self.rx_port
            if keys.split:
                self.tx_port = attachment.bind_port(keys.tx_port, tx_event)
        except BaseException:
            attachment.close()
            raise

    def close(self) -> None:
        """Unbind and unmap everything.  Idempotent."""
        self._attachment.close()
