"""The store over the domain's own ring page (``struct xenstore_domain_interface``).

Two byte rings of 1024 bytes: ``req`` is filled here, ``rsp`` by the store.  Indices run freely and
are taken modulo the ring's size, so all 1024 bytes can be in use.

A store operation waits with ``vcpu.block(port=...)`` on the store's event channel only: no other
handler runs meanwhile.  Watch events that come are queued and handed out by the port's handler,
which runs from the domain's loop.

When the store announces ``XENSTORE_SERVER_FEATURE_RECONNECTION`` and ``connection`` says
RECONNECT, nothing is written until it says CONNECTED again.

Source: xen/io/xs_wire.h; docs/misc/xenstore-ring.txt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from hvsim.abi import errno as xen_errno
from hvsim.abi import xs_wire
from hvsim.abi.ring import INDEX_MASK
from hvsim.domain.byte_ring import IndexPage, copied, place
from hvsim.domain.ring import fence
from hvsim.errors import TimedOut
from hvsim.xs.errors import StoreDisconnected
from hvsim.xs.requests import Request
from hvsim.xs.wire import Conversation, Exchange, Reply, TooLong

DEFAULT_TIMEOUT: Final = 60.0
"""Seconds that one exchange may take."""

_SIZE: Final = xs_wire.XENSTORE_RING_SIZE


class PortOwner(Protocol):
    """What the transport needs of the domain's event channels."""

    def notify(self, port: int) -> None:
        """Ring the bell at the other end."""

    def set_handler(self, port: int, handler: Callable[[], None] | None) -> None:
        """Call *handler* from the loop when the bell rings here."""


class Waiter(Protocol):
    """What the transport needs of the vCPU."""

    def now(self) -> float:
        """Monotonic seconds."""

    def block(self, timeout: float | None = None, *, port: int | None = None) -> bool:
        """Wait for the port, at most *timeout* seconds."""

    def set_pending(self, port: int) -> None:
        """Run the port's handler at the next dispatch."""


class RingTransport(IndexPage):
    """The frontend's half of the store ring.

    Args:
        page: the domain's store page, writable.
        port: the event channel to the store.
        events, vcpu: the domain's.
        timeout: seconds that one exchange may take; what it waited for is in the TimeoutError.
    """

    def __init__(
        self,
        page: memoryview,
        port: int,
        events: PortOwner,
        vcpu: Waiter,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        super().__init__(page)
        self.on_event: Callable[[bytes], None] = _ignore_event
        self.on_dispatch: Callable[[], bool] = _ignore_dispatch
        self.timeout = timeout
        self.port = port
        self._events = events
        self._vcpu = vcpu
        self._conversation = Conversation()
        self._out = self._conversation.out
        self._broken = ""
        self._closed = False
        self._eventful = False
        events.set_handler(port, self._handler)

    def close(self) -> None:
        """Stop handling events; the page and the port stay with the domain."""
        if not self._closed:
            self._closed = True
            self._events.set_handler(self.port, None)

    # -- a conversation --------------------------------------------------------------------------

    def exchange(self, batch: Sequence[Request[object]]) -> list[Reply]:
        """See :class:`~hvsim.xs.client.Transport`.

        Raises: TimedOut after ``timeout`` seconds; StoreDisconnected when the store reported
            an error in the ring page or its indices are out of range.
        """
        if not batch:
            return []
        exchange = self._conversation.ask(batch)
        replies = exchange.replies
        deadline = 0.0
        try:
            while True:
                self._check(exchange)
                moved = self._push() if self._out else False
                moved = self._pull() or moved
                if moved:
                    self._events.notify(self.port)
                    if len(replies) == len(batch):
                        return replies
                    continue
                now = self._vcpu.now()
                deadline = deadline or now + self.timeout
                if now >= deadline:
                    raise TimedOut(exchange.next.awaited, self.timeout)
                self._vcpu.block(deadline - now, port=self.port)
        finally:
            if len(replies) < len(batch):
                self._conversation.give_up()
            # block() took the port's event: what came beside the replies is for the loop.
            if self._eventful or self._out:
                self._vcpu.set_pending(self.port)

    def _check(self, exchange: Exchange) -> None:
        if not self._broken:
            error = self.word(xs_wire.ERROR)
            if error and self.word(xs_wire.SERVER_FEATURES) & (
                xs_wire.XENSTORE_SERVER_FEATURE_ERROR
            ):
                self._broken = f"the store reported error {error} on the ring"
        if self._broken or self._closed:
            request = exchange.next
            raise StoreDisconnected(xen_errno.EIO, request.name, request.path)

    # -- the rings ---------------------------------------------------------------------------------

    def _reconnecting(self) -> bool:
        return self.word(xs_wire.CONNECTION) == xs_wire.XENSTORE_RECONNECT

    def _push(self) -> bool:
        """Move bytes of requests into the ring; returns whether any went."""
        out = self._out
        if self._reconnecting():
            return False
        producer = self.word(xs_wire.REQ_PROD)
        used = (producer - self.word(xs_wire.REQ_CONS)) & INDEX_MASK
        if used > _SIZE:
            self._broken = "the store's index of requests is out of range"
            return False
        count = min(_SIZE - used, len(out))
        if not count:
            return False
        place(self._page, xs_wire.REQ, _SIZE, producer, out[:count])
        fence()
        self.put(xs_wire.REQ_PROD, (producer + count) & INDEX_MASK)
        fence()
        del out[:count]
        return True

    def _pull(self) -> bool:
        """Take what the store wrote; returns whether there was anything."""
        if self._reconnecting():
            return False
        consumer = self.word(xs_wire.RSP_CONS)
        count = (self.word(xs_wire.RSP_PROD) - consumer) & INDEX_MASK
        if count > _SIZE:
            self._broken = "the store's index of answers is out of range"
            return False
        if not count:
            return False
        fence()
        data = copied(self._page, xs_wire.RSP, _SIZE, consumer, count)
        fence()
        self.put(xs_wire.RSP_CONS, (consumer + count) & INDEX_MASK)
        fence()
        try:
            for payload in self._conversation.hear(data):
                self._eventful = True
                self.on_event(payload)
        except TooLong as error:
            self._broken = f"the store sent a message of {error.length} bytes"
        return True

    # -- the loop --------------------------------------------------------------------------------

    def _handler(self) -> None:
        """The port rang: take events and hand them out."""
        if self._closed:
            return
        moved = False
        while not self._broken and self._pull():
            moved = True
        # The rest of a request that was given up half-way must still go, or the stream is lost.
        if self._out and not self._broken and self._push():
            moved = True
        if moved:
            self._events.notify(self.port)
        # Only here: events of one exchange wait through all that follow it in the same handler,
        # each of which takes the port's event for itself.
        self._eventful = False
        if self.on_dispatch():
            self._vcpu.set_pending(self.port)


def _ignore_event(_payload: bytes) -> None:
    return None


def _ignore_dispatch() -> bool:
    return False
