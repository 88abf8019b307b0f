"""The blocking client for daemons that outlive the store.

When the store dies, the next request (or wait for events) connects again, watches again (each
watch fires once for that) and asks again what was not answered.  As in ``aio``: requests outside a
transaction say what is to be, so they may be made twice; those of a transaction get EAGAIN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from hvsim.abi import xs_wire
from hvsim.abi.errno import EAGAIN, EEXIST, ENOENT
from hvsim.xs import requests
from hvsim.xs.blocking import SocketStore, SocketTransport
from hvsim.xs.errors import StoreDisconnected
from hvsim.xs.requests import Request
from hvsim.xs.wire import Reply

PATIENCE: Final = 10.0
"""Seconds that the store may be away."""
_STEP: Final = 0.004
_DONE: Final = {
    (xs_wire.XS_WATCH, EEXIST),
    (xs_wire.XS_UNWATCH, ENOENT),
    (xs_wire.XS_RM, ENOENT),
}
"""(request, error) that say of a request made twice that it was done."""


class LastingTransport(SocketTransport):
    """A connection that is made again.

    Attributes:
        watches: the requests that register every watch there is.
        on_lost: told of the descriptor, before it is closed.
        on_back: told of the new one.
    """

    watches: Callable[[], list[Request[object]]] = staticmethod(list)
    on_lost: Callable[[int], None] = staticmethod(lambda fd: None)
    on_back: Callable[[int], None] = staticmethod(lambda fd: None)

    def exchange(self, batch: Sequence[Request[object]]) -> list[Reply]:
        """See ``Transport``.  Raises: StoreDisconnected when the store stays away; StoreError
        (EAGAIN) for a transaction that has gone with it."""
        try:
            return super().exchange(batch)
        except StoreDisconnected as lost:
            self._come_back(lost)
        for request in batch:
            if request.tx:
                raise request.error(EAGAIN)
        return [
            _as_done(request, reply)
            for request, reply in zip(batch, self.exchange(batch), strict=True)
        ]

    def wait(self, timeout: float | None) -> bool:
        """As ``SocketTransport.wait``; a store that came back has events for every watch."""
        try:
            return super().wait(timeout)
        except StoreDisconnected as lost:
            self._come_back(lost)
            return True

    def _come_back(self, lost: StoreDisconnected) -> None:
        if self.closed:
            raise lost
        self.on_lost(self.fileno())
        self.hang_up()
        deadline = self.waits.now() + PATIENCE
        while True:
            try:
                self.open()
                super().exchange(self.watches())
                break
            except (OSError, StoreDisconnected):
                self.hang_up()
                if self.waits.now() >= deadline:
                    raise lost from None
            self.waits.pause(_STEP)
        self.on_back(self.fileno())


class LastingStore(SocketStore):
    """A :class:`SocketStore` whose watches and requests outlive the store's death."""

    kind = LastingTransport
    transport: LastingTransport

    def connected(self) -> None:
        """Its watches are to be set anew, should it be lost."""
        self.transport.watches = self._registrations

    def _registrations(self) -> list[Request[object]]:
        return [requests.watch(watch.path, watch.token) for watch in self._watches.values()]


def _as_done(request: Request[object], reply: Reply) -> Reply:
    kind, payload = reply
    if kind == xs_wire.XS_ERROR:
        error = xs_wire.ERROR_NUMBERS.get(payload.rstrip(b"\0").decode("ascii", "replace"))
        if (request.op, error) in _DONE:
            return request.op, b"OK\0"
    return reply
