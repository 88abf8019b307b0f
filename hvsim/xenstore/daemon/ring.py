"""The store's half of a domain's ring page.

The page belongs to a domain that may write anything into it at any time: each index is read once
and checked; one that is out of range ends the connection (``XENSTORE_ERROR_RINGIDX`` in the page's
error field) and touches nobody else.

The order of a request is: copy it, carry it out, record it (``Store.before_output``), and only
then move ``req_cons``; so a store that is killed anywhere between finds it again.  A new daemon
goes on with :meth:`StoreRing.resume`.

A domain may begin anew by itself: it sets ``connection`` to RECONNECT and rings.  Its watches and
transactions are dropped, all four indices set to 0, ``error`` is cleared, and ``connection`` set to
CONNECTED.  Source: xen/io/xs_wire.h, docs/misc/xenstore-ring.txt.
"""

from __future__ import annotations

from typing import Final

from hvsim.abi import xs_wire
from hvsim.abi.ring import INDEX_MASK
from hvsim.domain.byte_ring import IndexPage, copied, place
from hvsim.domain.ring import fence
from hvsim.xenstore.daemon.connection import Connection
from hvsim.xenstore.journal.recorder import Recorder
from hvsim.xenstore.journal.recovery import Stream
from hvsim.xenstore.rules.records import STREAM, Record

_SIZE: Final = xs_wire.XENSTORE_RING_SIZE
_ROUNDS: Final = 4
"""Rings emptied in one call, so that one busy domain does not keep the others waiting."""

FEATURES: Final = (
    xs_wire.XENSTORE_SERVER_FEATURE_RECONNECTION | xs_wire.XENSTORE_SERVER_FEATURE_ERROR
)


class StoreRing(IndexPage):
    """Moves bytes between a ring page and a :class:`Connection`.

    Args:
        page: the domain's page, writable.
        fresh: the domain is new: indices and fields are set to their initial values.
        recorder: records where the ring stands; None for a store that is not kept.

    Attributes:
        before, after: ``req_cons`` around the last bytes that were taken.
    """

    def __init__(
        self,
        page: memoryview,
        connection: Connection,
        fresh: bool = True,
        recorder: Recorder | None = None,
    ) -> None:
        super().__init__(page)
        self.connection = connection
        self.session = connection.session
        self._recorder = recorder
        self._marked = False
        self.put(xs_wire.SERVER_FEATURES, FEATURES)
        if fresh:
            self.put(xs_wire.CONNECTION, xs_wire.XENSTORE_CONNECTED)
            self.put(xs_wire.ERROR, xs_wire.XENSTORE_ERROR_NONE)
            # Whoever had the page before is not this connection's business: begin in step.
            self.put(xs_wire.RSP_PROD, self.word(xs_wire.RSP_CONS))
        elif self.word(xs_wire.ERROR) != xs_wire.XENSTORE_ERROR_NONE:
            connection.fail("it was cut off by a former daemon")
            self._marked = True
        self.before = self.after = self.word(xs_wire.REQ_CONS)
        self._logged = self.produced()
        """Position of the reply stream up to which output was recorded."""
        if recorder is not None:
            recorder.streams[self] = None
            connection.moved, connection.stream = recorder.moved, self

    def close(self) -> None:
        """The domain's connection has gone.  Idempotent."""
        self.connection.close()
        if self._recorder is not None:
            self._recorder.streams.pop(self, None)
            self._recorder.moved.pop(self, None)

    def produced(self) -> int:
        """The page's ``rsp_prod``: position of the first byte that the domain was not given."""
        return self.word(xs_wire.RSP_PROD)

    @property
    def lost(self) -> bool:
        """The connection was given up, or has gone."""
        return bool(self.connection.broken)

    def record(self, whole: bool = False) -> Record:
        """Where the streams stand; with *whole* all output is in it, else what is new."""
        out = self.connection.out
        start = self.produced()
        end = (start + len(out)) & INDEX_MASK
        new = len(out) if whole else min((end - self._logged) & INDEX_MASK, len(out))
        self._logged = end
        return (
            STREAM,
            self.session.domid,
            self.before,
            self.after,
            self.connection.inbox.rest,
            start,
            (end - new) & INDEX_MASK,
            bytes(out[len(out) - new :]),
            tuple(self.session.transactions),
        )

    def resume(self, stream: Stream) -> bool:
        """Go on behind a former daemon, which left *stream*.

        Returns whether the page agrees; it does not when the domain has begun its ring anew.
        """
        if self.word(xs_wire.REQ_CONS) not in (stream.before, stream.after):
            return False
        self.before, self.after = stream.before, stream.after
        self.put(xs_wire.REQ_CONS, stream.after)
        self.connection.go_on(stream.kept, stream.unsent(self.produced()))
        self.session.adopt(stream.transactions)
        return True

    def pump(self) -> tuple[bool, bool]:
        """Move what can be moved.

        Returns (whether the domain is to be notified, whether there is more to do at once).
        """
        self.connection.quiet = True
        try:
            return self._pump()
        finally:
            self.connection.quiet = False

    def _pump(self) -> tuple[bool, bool]:
        moved = False
        if self.word(xs_wire.CONNECTION) == xs_wire.XENSTORE_RECONNECT:
            self._begin_anew()
            moved = True
        if self.connection.waiting:
            self.connection.turn()
        for _ in range(_ROUNDS):
            progress = self._write()
            if not self.connection.broken:
                progress = self._read() or progress
            if self.connection.broken:
                return self._mark() or moved, False
            if not progress:
                if self.connection.out:
                    self.connection.unread()
                return moved, self.connection.waiting
            moved = True
        return moved, True

    def _begin_anew(self) -> None:
        """The domain asks for a connection without a past."""
        self.connection.begin_anew()
        self._marked = False
        for offset in (xs_wire.REQ_CONS, xs_wire.REQ_PROD, xs_wire.RSP_CONS, xs_wire.RSP_PROD):
            self.put(offset, 0)
        self.before = self.after = 0
        self.put(xs_wire.ERROR, xs_wire.XENSTORE_ERROR_NONE)
        fence()
        self.put(xs_wire.CONNECTION, xs_wire.XENSTORE_CONNECTED)

    def _mark(self) -> bool:
        """Tell a domain that its connection was given up; once."""
        if self._marked:
            return False
        self._marked = True
        code = (
            xs_wire.XENSTORE_ERROR_RINGIDX
            if "index" in self.connection.broken
            else xs_wire.XENSTORE_ERROR_PROTO
        )
        self.put(xs_wire.ERROR, code)
        return True

    def _read(self) -> bool:
        consumer = self.word(xs_wire.REQ_CONS)
        producer = self.word(xs_wire.REQ_PROD)
        count = (producer - consumer) & INDEX_MASK
        if count > _SIZE:
            self.connection.fail(
                f"request ring index out of range: producer {producer}, consumer {consumer}"
            )
            return False
        if not count or self.connection.stalled:
            return False
        fence()
        data = copied(self._page, xs_wire.REQ, _SIZE, consumer, count)
        fence()
        self.connection.feed(data)
        self.before, self.after = consumer, (consumer + count) & INDEX_MASK
        self.session.store.before_output()
        self.put(xs_wire.REQ_CONS, self.after)
        return True

    def _write(self) -> bool:
        out = self.connection.out
        if not out or self.connection.broken:
            return False
        consumer = self.word(xs_wire.RSP_CONS)
        producer = self.word(xs_wire.RSP_PROD)
        used = (producer - consumer) & INDEX_MASK
        if used > _SIZE:
            self.connection.fail(
                f"reply ring index out of range: producer {producer}, consumer {consumer}"
            )
            return False
        count = min(_SIZE - used, len(out))
        if not count:
            return False
        self.session.store.before_output()
        place(self._page, xs_wire.RSP, _SIZE, producer, out[:count])
        fence()
        self.put(xs_wire.RSP_PROD, (producer + count) & INDEX_MASK)
        fence()
        self.connection.sent(count)
        return True
