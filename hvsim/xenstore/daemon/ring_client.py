"""One domain's ring in the daemon: its page, mapped; its port; when it is served."""

from __future__ import annotations

from hvsim.domain.domain import Domain
from hvsim.domain.mapper import Mapping
from hvsim.domain.timers import Timer
from hvsim.xenstore.daemon.connection import Connection, Tracer
from hvsim.xenstore.daemon.ring import StoreRing
from hvsim.xenstore.journal.keeper import Keeper
from hvsim.xenstore.rules.session import Session
from hvsim.xenstore.rules.store import Store


class RingClient:
    """One domain's ring, mapped, and its port."""

    def __init__(
        self,
        dom: Domain,
        store: Store,
        keeper: Keeper,
        tracer: Tracer | None,
        domid: int,
        page: memoryview,
        mapping: Mapping | None,
    ) -> None:
        self._dom = dom
        self._mapping = mapping
        self._given_up = False
        self._resume: Timer | None = None
        self.port = 0
        self.domid = domid
        session = Session(store, domid, f"d{domid}", durable=True)
        self.connection = Connection(session, tracer, self._output)
        recovery = keeper.recovery
        fresh = mapping is not None and recovery is None
        self._ring = StoreRing(page, self.connection, fresh, keeper.recorder)
        if recovery is not None:
            recovery.attach(session)
            stream = recovery.streams.get(domid)
            if stream is not None:
                self._ring.resume(stream)

    def greet(self) -> None:
        """A new daemon has taken over: the domain may have rung while nobody listened."""
        self._dom.events.notify(self.port)

    def bind(self, remote_port: int) -> None:
        """Listen to the domain's port; a former one is closed.  Raises HypercallError."""
        port = self._dom.events.bind_interdomain(self.domid, remote_port, self.pump)
        former, self.port = self.port, port
        if former:
            self._dom.events.close(former)

    def pump(self) -> None:
        """Serve the ring."""
        if self._given_up:
            return
        notify, more = self._ring.pump()
        if self.connection.broken:
            self._given_up = True
            self._dom.dmesg(f"xenstored: d{self.domid} cut off: {self.connection.broken}")
        if notify and self.port:
            self._dom.events.notify(self.port)
        if more and self.port and self._resume is None:
            delay = self.connection.delay()
            if delay > 0.0:
                self._resume = self._dom.vcpu.call_later(delay, self._go_on)
            else:
                self._dom.vcpu.set_pending(self.port)

    def _go_on(self) -> None:
        """The domain was held back, and is no more."""
        self._resume = None
        self.pump()

    def close(self) -> None:
        """Let go of port and page."""
        if self._resume is not None:
            self._resume.cancel()
        self._ring.close()
        if self.port:
            port, self.port = self.port, 0
            self._dom.events.close(port)
        if self._mapping is not None:
            self._mapping.unmap()

    def _output(self) -> None:
        if self.port:
            # An event for a domain whose ring is not being served now.
            self._dom.vcpu.set_pending(self.port)
