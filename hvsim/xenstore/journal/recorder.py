"""What goes into the journal, and when.  Pure: the bytes go to whoever takes them.

The rule is one: **nothing leaves the store before the change that it speaks of is recorded.**  All
that happens between two outputs (changes of the tree, of watches and domains, the requests taken
from rings, the replies and events queued for them) is one frame, which is recorded by
:meth:`Recorder.commit` just before bytes go to a ring or a socket, and at the end of every turn of
the daemon's loop.  A store without a journal calls a function that does nothing.

For a ring the frame also says where in its two byte streams it stands: how far requests were
consumed, what of an incomplete request was kept, and the bytes that are on their way out with the
position they begin at.  The page's own index tells how many of those the domain has been given.
So a request is neither lost nor done twice, whichever instruction was the last one:

    killed before the frame    the page's ``req_cons`` was not moved: the request is read again,
                               and nothing of it had been done
    killed behind the frame    ``req_cons`` is moved to where the frame says; the reply and every
                               event continue at the byte that the page's ``rsp_prod`` names

A socket has no such page: its client finds the connection closed.  What the records say is in
``records``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, Protocol

from hvsim.wire.packing import packer
from hvsim.xenstore.daemon.handover import adopt_transactions
from hvsim.xenstore.journal.records import DOMAINS, GENERATION, LIFE, PUT, STREAM, WATCH, Record
from hvsim.xenstore.rules.connection import Connection, Tracer

if TYPE_CHECKING:
    from hvsim.xenstore.rules.core import Store

_U32: Final = 0xFFFFFFFF


class Positions(Protocol):
    """Where a ring stands; see ``StoreRing``."""

    before: int
    after: int

    def produced(self) -> int:
        """The page's ``rsp_prod``."""


class RingConnection(Connection):
    """A connection over a ring page, which outlives the daemon.

    Attributes:
        positions: the ring; set by who makes both.
        logged: position of the reply stream up to which output was recorded.
    """

    durable = True

    def __init__(
        self,
        store: Store,
        domid: int,
        name: str,
        label: str = "",
        tracer: Tracer | None = None,
        on_output: Callable[[], None] | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        super().__init__(store, domid, name, label, tracer, on_output)
        self.positions: Positions | None = None
        self.logged = 0
        self._recorder = recorder

    def _send(self, message: bytes) -> None:
        if self._recorder is not None:
            self._recorder.touched[self] = None
        super()._send(message)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """As ``Connection.feed``; the input that is kept is part of the next frame."""
        if self._recorder is not None:
            self._recorder.touched[self] = None
        super().feed(data)

    def stream(self) -> Record | None:
        """Where the streams stand now; None before there is a ring."""
        ring = self.positions
        if ring is None:
            return None
        out = self.out
        start = ring.produced()
        end = (start + len(out)) & _U32
        new = min((end - self.logged) & _U32, len(out))
        self.logged = end
        return (
            STREAM,
            self.domid,
            ring.before,
            ring.after,
            bytes(self._in),
            start,
            (end - new) & _U32,
            bytes(out[len(out) - new :]),
            tuple(self.transactions),
        )

    def resume(self, kept: bytes, out: bytes, transactions: tuple[int, ...]) -> None:
        """Go on where a former daemon was; its open transactions can only end in EAGAIN."""
        self.go_on(kept, out)
        adopt_transactions(self, transactions)


class Recorder:
    """Collects what happens in *store* and hands each frame's payload to *sink*.

    Attributes:
        touched: ring connections whose streams have moved since the last frame.
    """

    def __init__(self, store: Store, sink: Callable[[bytes], None]) -> None:
        self.touched: dict[RingConnection, None] = {}
        self._store = store
        self._sink = sink
        self._records: list[Record] = []
        self._pack: Final[Callable[[Any], bytes]] = packer()
        self._administration = store.administration
        store.tree.log = self._records.append
        store.watches.log = self._records.append
        store.before_output = self.commit

    def commit(self) -> None:
        """Record all that has happened since the last call."""
        records = self._records
        store = self._store
        if store.administration != self._administration:
            self._administration = store.administration
            records.append(domains(store))
        if self.touched:
            for connection in self.touched:
                record = connection.stream() if not connection.broken else None
                if record is not None:
                    records.append(record)
            self.touched.clear()
        if records:
            payload = self._pack(records)
            records.clear()
            self._sink(payload)

    def snapshot(self) -> bytes:
        """Payload of a frame that stands for everything up to now; what waits to be recorded is
        in it."""
        self._records.clear()
        self.touched.clear()
        self._administration = self._store.administration
        return self._pack(list(everything(self._store)))


def domains(store: Store) -> Record:
    """The record of what the store knows of domains, and of its settings."""
    return (
        DOMAINS,
        [
            (domain.domid, domain.port, domain.shutdown, domain.target)
            for domain in store.domains.values()
        ],
        sorted(store.known),
        list(store.special.items()),
        asdict(store.limits),
    )


def everything(store: Store) -> Iterator[Record]:
    """The records that make an empty store into *store*."""
    tree = store.tree
    yield LIFE, store.life
    yield GENERATION, tree.generation
    for path in tree.walk(b"/"):
        node = tree.nodes[path]
        yield PUT, path, node.value, node.perms
    yield domains(store)
    rings = [c for c in store.connections if isinstance(c, RingConnection) and not c.broken]
    watches = [watch for ring in rings for watch in ring.watches.values()]
    for watch in sorted(watches, key=lambda watch: watch.serial):
        yield WATCH, watch.connection.domid, watch.path, watch.prefix, watch.token
    for ring in rings:
        ring.logged = 0 if ring.positions is None else ring.positions.produced()
        record = ring.stream()
        if record is not None:
            yield record
