"""The bytes of a session: requests in, replies and events out.  Pure; a transport moves them.

The output is bounded: a peer that does not read is not read from (``stalled``), and of events
that it does not take equal ones are kept once (XSA-326).  So is the work for an unprivileged domain
in one go (``waiting``; see ``fairness``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from hvsim.abi import xs_wire
from hvsim.abi.errno import EAGAIN, EINVAL, EIO, ENOENT, ENOSYS
from hvsim.xenstore.journal.recorder import Stream
from hvsim.xenstore.operations.table import OPERATIONS
from hvsim.xenstore.rules.errors import Refused
from hvsim.xenstore.rules.fairness import TURN
from hvsim.xenstore.rules.permissions import PRIVILEGED_DOMID
from hvsim.xenstore.rules.session import Session
from hvsim.xs.wire import Inbox, TooLong, pack

_PAYLOAD_MAX: Final = xs_wire.XENSTORE_PAYLOAD_MAX

OUTPUT_HIGH: Final = 64 * 1024
"""Bytes of unread output from which on no further request is taken."""
OUTPUT_MAX: Final = 1024 * 1024
"""Bytes of unread output from which on events are lost (a domain) or the connection ends (a
socket)."""


class Tracer(Protocol):
    """Hears of everything that a session says and is told."""

    def request(
        self, session: Session, type: int, tx: int, payload: bytes, reply: int, answer: bytes
    ) -> None:
        """A request was answered."""

    def event(self, session: Session, payload: bytes) -> None:
        """A watch event was sent."""

    def note(self, session: Session, text: str) -> None:
        """Something about the connection itself: opened, closed, broken, a limit reached."""


class Connection:
    """What *session* says and hears.

    Args:
        on_output: called when the output was empty and now is not.

    Attributes:
        quiet: whoever serves it looks at the output anyway; *on_output* is not called.
        broken: why the connection was given up; "" while it is good.
        out: bytes that wait for the peer.
        waiting: its turn is over although requests are left; the transport calls :meth:`turn` in
            the next round, or after :meth:`delay`.
        lost_events: how many the peer was too slow for.
        inbox: input that was not handled yet: part of a request, or more than one turn allows.
        moved: of a ring that is journaled: the recorder's row of streams that have moved, in which
            *stream* is put whenever bytes came or go.
    """

    stream: Stream

    def __init__(
        self,
        session: Session,
        tracer: Tracer | None = None,
        on_output: Callable[[], None] | None = None,
    ) -> None:
        self.session = session
        self.store = session.store
        self.tracer = tracer
        self.on_output = on_output
        self.out = bytearray()
        self.broken = ""
        self.lost_events = 0
        self.waiting = False
        self.quiet = False
        self.moved: dict[Stream, None] | None = None
        self._budget = TURN
        """What is left of the turn, in requests answered and nodes changed."""
        self._limited = session.domid != PRIVILEGED_DOMID
        self._queued: deque[int] = deque()
        """Lengths of the messages in ``out``; not kept for dom0."""
        self.inbox = Inbox()
        self._unread: dict[bytes, None] = {}
        session.outlet = self
        if tracer is not None:
            tracer.note(session, "connected")

    # -- what comes ------------------------------------------------------------------------------

    @property
    def stalled(self) -> bool:
        """Take nothing from the peer: it does not read, or it has had its turn."""
        return self.waiting or self._full

    @property
    def outstanding(self) -> int:
        """Messages that the peer has not taken; 0 for dom0, whose are not counted."""
        return len(self._queued)

    @property
    def _full(self) -> bool:
        if len(self.out) >= OUTPUT_HIGH:
            return True
        return self._limited and len(self._queued) >= self.store.limits.outstanding

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer and answer every request that is complete."""
        if self.moved is not None:
            self.moved[self.stream] = None
        if not self.broken:
            self.inbox.add(data)
            self._budget = TURN
            self._work()

    def turn(self) -> None:
        """Go on with the requests that were left over in the last round."""
        self.waiting = False
        self._budget = TURN
        if not self.broken:
            self._work()

    def delay(self) -> float:
        """Seconds until :meth:`turn` may be called; 0.0: in the next round."""
        governor = self.store.governor
        domid = self.session.domid
        if governor is None or not self._limited or domid not in governor.charged:
            return 0.0
        return governor.held(domid)

    def _work(self) -> None:
        inbox = self.inbox
        limited = self._limited
        tree = self.store.tree
        if limited and self.delay() > 0.0:
            self.waiting = inbox.whole
            return
        tree.actor = self.session.domid
        try:
            while inbox.more and len(self.out) < OUTPUT_HIGH:
                if limited:
                    if len(self._queued) >= self.store.limits.outstanding:
                        return
                    if self._budget <= 0:
                        self.waiting = inbox.whole
                        return
                message = inbox.take()
                if message is None:
                    return
                if limited:
                    self._budget -= 1 - tree.generation
                self._handle(*message)
                if self.broken:
                    return
                if limited:
                    self._budget -= tree.generation
        except TooLong as error:
            self.fail(str(error))

    def _handle(self, type: int, req_id: int, tx_id: int, payload: bytes) -> None:
        session = self.session
        reply = type
        try:
            operation = (self.store.operations or OPERATIONS).get(type)
            if operation is None:
                raise Refused(ENOSYS)
            tx = None
            if tx_id:
                tx = session.transactions.get(tx_id)
                if tx is None:
                    raise Refused(ENOENT)
            answer = operation(session, payload, tx)
        except Refused as refused:
            reply = xs_wire.XS_ERROR
            number = refused.errno if refused.errno in xs_wire.ERROR_NAMES else EINVAL
            if tx_id and session.doomed(tx_id):
                number = EAGAIN  # it saw a store that is no more: let it begin anew
            answer = xs_wire.ERROR_NAMES[number].encode() + b"\0"
            if refused.limit:
                whose = refused.domid if refused.domid >= 0 else session.domid
                name = xs_wire.TYPE_NAMES.get(type, str(type))
                what = payload.partition(b"\0")[0][:80].decode("utf-8", "backslashreplace")
                self.store.limit(refused.limit, whose, f"{name} {what} refused, {refused}")
        except Exception as bug:
            # No request may take the store away from everybody else.
            if self.store.on_bug is None:
                raise
            self.store.on_bug(f"{session.name}: request {type} {payload!r}", bug)
            reply, answer = xs_wire.XS_ERROR, xs_wire.ERROR_NAMES[EIO].encode() + b"\0"
        if len(answer) > _PAYLOAD_MAX:
            reply, answer = xs_wire.XS_ERROR, xs_wire.ERROR_NAMES[EIO].encode() + b"\0"
        self._send(pack(reply, req_id, tx_id, answer))
        if self.tracer is not None:
            self.tracer.request(session, type, tx_id, payload, reply, answer)
        if session.after_reply:
            for event in session.after_reply:
                self.send_event(event)
            session.after_reply.clear()

    # -- what goes -------------------------------------------------------------------------------

    def _send(self, message: bytes) -> None:
        if self.moved is not None:
            self.moved[self.stream] = None
        out = self.out
        empty = not out
        out += message
        if self._limited:
            self._queued.append(len(message))
        if empty and not self.quiet and self.on_output is not None:
            self.on_output()

    def send_event(self, payload: bytes) -> None:
        """Queue a watch event; one that is longer than a message may be is dropped (XSA-324)."""
        if self.broken or len(payload) > _PAYLOAD_MAX:
            return
        out = self.out
        if out:
            if payload in self._unread:
                return
            if len(out) >= OUTPUT_MAX:
                self._overrun()
                return
            if len(out) >= OUTPUT_HIGH:
                self._unread[payload] = None
        self._send(pack(xs_wire.XS_WATCH_EVENT, 0, 0, payload))
        if self.tracer is not None:
            self.tracer.event(self.session, payload)

    def _overrun(self) -> None:
        if not self.lost_events and self.tracer is not None:
            text = "does not read its watch events; they are lost from here on"
            self.tracer.note(self.session, text)
        if not self.lost_events:
            self.store.limit("events", self.session.domid, "it does not read; events are lost")
        self.lost_events += 1

    def sent(self, count: int) -> None:
        """*count* bytes of ``out`` have gone to the peer."""
        del self.out[:count]
        queued = self._queued
        while queued and count >= queued[0]:
            count -= queued.popleft()
        if queued:
            queued[0] -= count
        if not self.out:
            self._unread.clear()
        if self.inbox.more and not self.broken and not self.stalled:
            self._work()

    def unread(self) -> None:
        """The transport could not move anything: say so when that holds a domain's requests up."""
        if self._limited and len(self._queued) >= self.store.limits.outstanding:
            domid = self.session.domid
            self.store.limit("outstanding", domid, "it does not read; its requests wait")

    # -- over a live update or a death, and its end ------------------------------------------------

    def go_on(self, kept: bytes, out: bytes) -> None:
        """Continue the streams of a connection to a former daemon."""
        self.inbox.add(kept)
        self.out += out
        if out and self._limited:
            self._queued.append(len(out))
        self.waiting = bool(kept)  # a request in it may be complete

    def begin_anew(self) -> None:
        """Forget everything, a failure too: the peer begins the conversation again."""
        self.session.reset()
        self.inbox.clear()
        self.out.clear()
        self._queued.clear()
        self._unread.clear()
        self.waiting = False
        self.broken = ""
        if self.tracer is not None:
            self.tracer.note(self.session, "begun anew")

    def fail(self, reason: str) -> None:
        """Give the connection up; the transport closes it or marks its ring."""
        if not self.broken:
            self.broken = reason
            self.inbox.clear()
            if self.tracer is not None:
                self.tracer.note(self.session, f"broken: {reason}")

    def close(self) -> None:
        """The connection has gone, and the session with it.  Idempotent."""
        self.session.close()

    def closed(self) -> None:
        """The session has ended."""
        self.on_output = None  # no circle: what has gone is freed at once
        if self.moved is not None:
            self.moved = None
            del self.stream
        if self.tracer is not None:
            self.tracer.note(self.session, "closed")
        self.broken = self.broken or "closed"
