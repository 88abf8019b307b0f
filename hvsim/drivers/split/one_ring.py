"""Both halves of a device of one ring of one page, whole but for what is asked and answered.

For device classes of a lab's own (``[[device]]``): the handshake, recovery, a hostile peer and the
end of either half are done here, so that what a user writes is what the device is for.

    def front(dom):
        half = RingFront(dom, 4, 16, connected=lambda: half.ask(b"more"), answered=print)
        return half

    def back(dom):
        return RingBack(dom, 4, 16, lambda request: make_16_bytes_of(request))

Answers come in the order of the requests.  The keys are those of Linux' one-page devices
(``ring-ref``, ``event-channel``); request and answer are of a fixed size each.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hvsim.abi.xenbus import XenbusState
from hvsim.domain.hypercall import HypercallError
from hvsim.domain.mapper import GrantError
from hvsim.domain.seams import BACK_RING, FRONT_RING, PORT
from hvsim.drivers.split.attach import Attachment
from hvsim.drivers.split.deferred import DeferredGrants
from hvsim.drivers.split.handshake import BackHandshake, FrontHandshake, RingRefused, refusal
from hvsim.drivers.split.late_eoi import LateEoi
from hvsim.drivers.split.numbers import number
from hvsim.drivers.split.share import Share
from hvsim.errors import BrokenByPeer

if TYPE_CHECKING:
    from hvsim.domain import Domain
    from hvsim.domain.ring import BackRing, FrontRing
    from hvsim.domain.xenbus.device import BackendDevice, FrontendDevice

TURN: Final = 64
"""Requests done for one frontend before the others have their turn."""


class RingFront:
    """The frontend.

    A request is forgotten when its answer was seen; what a dead backend leaves is asked again.

    Args:
        request_bytes, answer_bytes: of a slot.
        connected: called whenever there is a backend to ask.
        answered: called with each answer.

    Attributes:
        device: the device in the store; set by the bus before anything is called.
        unanswered: requests without an answer, the oldest first.
    """

    device: FrontendDevice

    def __init__(
        self,
        dom: Domain,
        request_bytes: int,
        answer_bytes: int,
        *,
        connected: Callable[[], None],
        answered: Callable[[bytes], None],
    ) -> None:
        self.unanswered: deque[bytes] = deque()
        self._dom = dom
        self._sizes = request_bytes, answer_bytes
        self._connected = connected
        self._answered = answered
        self._deferred = DeferredGrants(dom)
        self._share: Share | None = None
        self._true: FrontRing | None = None
        self._ring: FrontRing | None = None
        self._port = -1
        self._issued = 0

    def statistics(self) -> dict[str, int]:
        """Requests without an answer; pages that earlier backends hold on to."""
        return {"unanswered": len(self.unanswered), "leftover_pages": self._deferred.nr_pages}

    def ask(self, request: bytes) -> None:
        """Send a request, now or when there is room on the ring of a backend.

        Raises: ValueError for one of another size.
        """
        if len(request) != self._sizes[0]:
            raise ValueError(f"a request of {len(request)} bytes, not {self._sizes[0]}")
        self.unanswered.append(request)
        if self._issue():
            self._dom.events.notify(self._port)

    # -- the bus's side (hvsim.domain.xenbus.driver.Front) -----------------------------------

    def probe(self, device: FrontendDevice) -> None:
        """The bus found the device."""
        self.device = device
        self._handshake = FrontHandshake(device, self._publish, self._connect, self._disconnect)
        self._dom.seams.follow(FRONT_RING, self._reseat)

    def otherend_changed(self, state: XenbusState) -> None:
        """The backend's state was reported."""
        self._handshake.otherend_changed(state)

    def backend_moved(self) -> None:
        """The device has another backend now."""
        self._disconnect()

    def close(self) -> None:
        """Begin an orderly close."""
        self.device.switch_state(XenbusState.Closing)

    def removed(self) -> None:
        """The device is gone."""
        self._dom.seams.unfollow(FRONT_RING, self._reseat)
        self._disconnect()

    # -- inside --------------------------------------------------------------------------------

    def _publish(self) -> None:
        self._disconnect()
        self._share = share = Share(self._dom, self._deferred, self.device.otherend_id)
        extent, refs = share.grant(1)
        self._true = share.ring(extent.view, *self._sizes)
        self._ring = self._dom.seams.through(FRONT_RING, self._true, self.device)
        self._port = share.offer_port(self._event)
        self._dom.seams.hold(PORT, self._port, self.device)
        keys: dict[str, str | int] = {"ring-ref": refs[0], "event-channel": self._port}
        self.device.write_many(keys, "publish the ring")
        self.device.switch_state(XenbusState.Initialised)

    def _connect(self) -> None:
        self.device.switch_state(XenbusState.Connected)
        if self._issue():
            self._dom.events.notify(self._port)
        self._connected()

    def _disconnect(self) -> None:
        self._true, self._ring, self._issued = None, None, 0
        share, self._share = self._share, None
        if share is not None:
            share.close()

    def _reseat(self) -> None:
        """Something came to stand before the ring, or went."""
        if self._true is None:
            return
        self._ring = self._dom.seams.through(FRONT_RING, self._true, self.device)
        self._ring.push()  # what was held back, or published as something else
        self._dom.events.notify(self._port)
        self._dom.vcpu.call_later(0.0, self._event)

    def _issue(self) -> bool:
        """Put what waits on the ring; whether the backend must be notified."""
        ring = self._ring
        if ring is None or self.device.state != XenbusState.Connected:
            return False
        before = self._issued
        while ring.free and self._issued < len(self.unanswered):
            ring.produce(self.unanswered[self._issued])
            self._issued += 1
        return self._issued > before and ring.push()

    def _event(self) -> None:
        try:
            while (ring := self._ring) is not None:
                answer = ring.consume()
                if answer is not None:
                    self._issued -= 1
                    self.unanswered.popleft()
                    self._answered(answer)
                elif not ring.final_check():
                    break
        except BrokenByPeer as broken:
            self._disconnect()
            self.device.fatal(errno.EIO, f"{broken}; device disabled")
            return
        if self._issue():
            self._dom.events.notify(self._port)


class RingBack:
    """The backend.

    Args:
        request_bytes, answer_bytes: of a slot.
        answer: makes the answer to a request, which a stranger wrote.

    Attributes:
        device: the device in the store; set by the bus before anything is called.
        answered: requests that were answered.
    """

    device: BackendDevice

    def __init__(
        self,
        dom: Domain,
        request_bytes: int,
        answer_bytes: int,
        answer: Callable[[bytes], bytes],
    ) -> None:
        self.answered = 0
        self._dom = dom
        self._sizes = request_bytes, answer_bytes
        self._answer = answer
        self._attachment: Attachment | None = None
        self._true: BackRing | None = None
        self._ring: BackRing | None = None
        self._eoi: LateEoi | None = None
        self._port = -1

    def statistics(self) -> dict[str, int]:
        """Requests that were answered."""
        return {"answered": self.answered}

    # -- the bus's side (hvsim.domain.xenbus.driver.Back) ------------------------------------

    def probe(self, device: BackendDevice) -> None:
        """A new backend directory."""
        self.device = device
        self._handshake = BackHandshake(device, self._attach, self._detach)
        self._dom.seams.follow(BACK_RING, self._reseat)
        device.switch_state(XenbusState.InitWait)

    def otherend_changed(self, state: XenbusState) -> None:
        """The frontend's state was reported."""
        self._handshake.otherend_changed(state)

    def removed(self) -> None:
        """The device is gone."""
        self._dom.seams.unfollow(BACK_RING, self._reseat)
        self._detach()

    # -- inside --------------------------------------------------------------------------------

    def _attach(self) -> None:
        """Raises: RingRefused."""
        self._detach()
        device = self.device
        ref, port = (
            number(text, -1) for text in device.read_otherend_many(["ring-ref", "event-channel"])
        )
        if ref < 0 or port < 0:
            raise RingRefused(errno.EINVAL, f"reading {device.otherend}/ring-ref and event-channel")
        self._attachment = attachment = Attachment(self._dom, device.otherend_id)
        try:
            self._true = attachment.ring([ref], *self._sizes)
            self._port = attachment.bind_port(port, self._event)
            self._dom.seams.hold(PORT, self._port, device)
        except (GrantError, HypercallError) as failed:
            self._detach()
            raise refusal(failed, f"ring-ref port {port}", device.otherend_id) from failed
        self._eoi = LateEoi(self._dom, self._port, self._event)
        self._ring = self._dom.seams.through(BACK_RING, self._true, device)
        device.switch_state(XenbusState.Connected)
        self._dom.vcpu.call_later(0.0, self._event)  # the frontend may have rung before

    def _reseat(self) -> None:
        """Something came to stand before the ring, or went."""
        if self._true is None or self._ring is None:
            return
        self._ring = self._dom.seams.through(BACK_RING, self._true, self.device)
        self._ring.push()  # what was held back, or published as something else
        self._dom.events.notify(self._port)
        self._dom.vcpu.call_later(0.0, self._event)

    def _detach(self) -> None:
        self._true = self._ring = None
        eoi, self._eoi = self._eoi, None
        if eoi is not None:
            eoi.close()
        attachment, self._attachment = self._attachment, None
        if attachment is not None:
            attachment.close()

    def _event(self) -> None:
        ring, eoi = self._ring, self._eoi
        if ring is None or eoi is None:
            return
        try:
            done = self._turn(ring)
            if done and ring.push():
                self._dom.events.notify(self._port)
            if done == TURN or ring.final_check():
                self._dom.vcpu.call_later(0.0, self._event)
        except BrokenByPeer as broken:
            self._detach()
            self.device.fatal(errno.EACCES, f"frontend provided bogus ring requests ({broken})")
            return
        eoi.end(done > 0)

    def _turn(self, ring: BackRing) -> int:
        """Answer up to TURN requests; how many."""
        for done in range(TURN):
            request = ring.consume()
            if request is None:
                return done
            ring.produce(self._answer(request))
            self.answered += 1
        return TURN
