"""One queue of a netback at work: events, budgets, and the guest that rings for nothing.

The guest is hostile: a bounded number of its frames is done per turn, so that others have theirs,
and one that rings without work is listened to less and less often (XSA-332).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hvsim.domain.seams import BACK_RING, BACK_RX_RING
from hvsim.drivers.net.receive import BackReceiver
from hvsim.drivers.net.ring import BackQueue, QueueKeys
from hvsim.drivers.net.transmit import BackTransmitter
from hvsim.drivers.split.late_eoi import LateEoi
from hvsim.errors import BrokenByPeer

if TYPE_CHECKING:
    from hvsim.domain import Domain
    from hvsim.domain.xenbus.device import BackendDevice
    from hvsim.drivers.capture.tap import Tap
    from hvsim.drivers.net.features import FrontFeatures
    from hvsim.drivers.net.rate import Credit

TURN: Final = 64
"""Frames of one queue before the others have their turn."""


class QueueService:
    """Transmitter and receiver of one queue of a frontend.

    Attributes:
        ports: local event channels.

    Args:
        fd: of the link; -1 without one.
        multicast: see BackTransmitter.
        posted: called when the guest has posted pages.
        broken: called with why the device has to be given up.

    Raises: GrantError, HypercallError; nothing is kept then.
    """

    def __init__(
        self,
        dom: Domain,
        domid: int,
        number: int,
        keys: QueueKeys,
        features: FrontFeatures,
        fd: int,
        credit: Credit,
        tap: Tap | None,
        multicast: Callable[[bool, bytes], bool],
        posted: Callable[[], None],
        broken: Callable[[str], None],
        longest: int,
    ) -> None:
        self._dom = dom
        self._credit = credit
        self._posted = posted
        self._broken = broken
        self._closed = False
        self._started = False
        self._again = False
        self._queue = BackQueue(
            dom, domid, keys, features.persistent, self._tx_event, self._rx_event
        )
        tx_port, rx_port = self._queue.tx_port, self._queue.rx_port
        self._rx_eoi = LateEoi(dom, rx_port, self.start)
        self._tx_eoi = self._rx_eoi if tx_port == rx_port else LateEoi(dom, tx_port, self.start)
        self.ports = {tx_port, rx_port}
        pages = self._queue.pages
        self.tx = BackTransmitter(self._queue.tx_ring, pages, fd, multicast, tap, number, longest)
        self.rx = BackReceiver(self._queue.rx_ring, pages, sg=features.sg, tap=tap, number=number)

    def start(self) -> None:
        """Begin, with what was published before; no frame passes until both are Connected."""
        self._started = True
        self._tx_event()
        self._rx_event()

    def seat(self, device: BackendDevice) -> None:
        """Use the rings, or what stands before them."""
        through, queue = self._dom.seams.through, self._queue
        self.tx.ring = through(BACK_RING, queue.tx_ring, device)
        self.rx.ring = through(BACK_RX_RING, queue.rx_ring, device)

    def reseat(self, device: BackendDevice) -> None:
        """Something came to stand before them, or went."""
        self.seat(device)
        self.tx.push()  # what was held back, or published as something else
        self.rx.push()
        for port in self.ports:
            self._dom.events.notify(port)
        self._dom.vcpu.call_later(0.0, self.start)

    def close(self) -> None:
        """Unbind and unmap everything."""
        self._closed = True
        self._tx_eoi.close()
        self._rx_eoi.close()
        self._queue.close()

    def closed(self) -> bool:
        """Whether it is: what is done for a guest may close its device."""
        return self._closed

    @property
    def rx_port(self) -> int:
        """Of the guest's RX ring: it is to be notified when `rx.push` says so."""
        return self._queue.rx_port

    def ready(self) -> bool:
        """Whether another frame may be read for this queue: none is waiting for pages.

        Raises: BrokenByPeer.
        """
        rx = self.rx
        if rx.room:
            return True
        rx.take_requests()
        if rx.flush():
            return True
        # Before more pages are waited for, the guest must know that we wait.
        if rx.ring.final_check():
            rx.take_requests()
        return rx.flush()

    # -- events ----------------------------------------------------------------------------

    def _rx_event(self) -> None:
        """Pages were posted (or, with one port for both, something was sent)."""
        if self._closed or not self._started:
            return
        queue = self._queue
        worked = queue.rx_port == queue.tx_port and self._transmit()
        if self.closed():
            return
        ring = self.rx.ring
        before = ring.req_cons
        try:
            self.rx.take_requests()
        except BrokenByPeer as broken:
            self._broken(str(broken))
            return
        worked = worked or ring.req_cons != before
        self._posted()
        if not self.closed():
            self._rx_eoi.end(worked)

    def _tx_event(self) -> None:
        if self._started and not self._closed:
            worked = self._transmit()
            if not self.closed():
                self._tx_eoi.end(worked)

    def _transmit(self) -> bool:
        """Send what the guest has put on its TX ring, as much as one turn allows; whether there
        was anything."""
        ring = self.tx.ring
        before = ring.req_cons
        now = self._dom.vcpu.now
        credit = self._credit
        try:
            more = self.tx.run(TURN, lambda: credit.allowed(now()), credit.spend)
            if ring.req_cons != before and self.tx.push():
                self._dom.events.notify(self._queue.tx_port)
            if not more and credit.allowed(now()):
                more = ring.final_check()
        except BrokenByPeer as abuse:
            self._broken(str(abuse))
            return False
        if more:
            self._soon(0.0)
        elif not credit.allowed(now()):
            self._soon(credit.wait(now()))
        return ring.req_cons != before

    def _soon(self, delay: float) -> None:
        if not self._again:
            self._again = True
            self._dom.vcpu.call_later(delay, self._go_on)

    def _go_on(self) -> None:
        self._again = False
        if not self._closed:
            self._transmit()
