"""One connection: bytes in, bytes out.  Pure; the transport moves the bytes.

The output is bounded: a peer that does not read is not read from (``stalled``), and of events
that it does not take equal ones are kept once (XSA-326).  So is the work for an unprivileged domain
in one go (``waiting``; see ``fairness``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from hvsim.abi import xs_wire
from hvsim.abi.errno import EAGAIN, EINVAL, EIO, ENOENT, ENOSYS
from hvsim.xenstore.operations.table import OPERATIONS
from hvsim.xenstore.rules import paths
from hvsim.xenstore.rules.errors import Refused
from hvsim.xenstore.rules.fairness import TURN
from hvsim.xenstore.rules.permissions import PRIVILEGED_DOMID
from hvsim.xenstore.rules.quota import watch_cost

if TYPE_CHECKING:
    from hvsim.xenstore.rules.core import Store
    from hvsim.xenstore.rules.transaction import Transaction
    from hvsim.xenstore.rules.watches import Watch

_HEADER: Final = xs_wire.XSD_SOCKMSG.struct
_HEADER_SIZE: Final = _HEADER.size
_PAYLOAD_MAX: Final = xs_wire.XENSTORE_PAYLOAD_MAX
_PATHS_MAX: Final = 512

OUTPUT_HIGH: Final = 64 * 1024
"""Bytes of unread output from which on no further request is taken."""
OUTPUT_MAX: Final = 1024 * 1024
"""Bytes of unread output from which on events are lost (a domain) or the connection ends (a
socket)."""


class Tracer(Protocol):
    """Hears of everything on a connection."""

    def request(
        self, connection: Connection, type: int, tx: int, payload: bytes, reply: int, answer: bytes
    ) -> None:
        """A request was answered."""

    def event(self, connection: Connection, payload: bytes) -> None:
        """A watch event was sent."""

    def note(self, connection: Connection, text: str) -> None:
        """Something about the connection itself: opened, closed, broken, a limit reached."""


class Connection:
    """A client of the store.

    Args:
        domid: for whom it speaks.
        name: stable name for the trace, e.g. ``d1`` or ``s3``.
        label: who it is, as it says itself; "" when it does not.
        on_output: called when the output was empty and now is not.

    Attributes:
        durable: it outlives the daemon (``recorder.RingConnection``).
        broken: why the connection was given up; "" while it is good.
        out: bytes that wait for the peer.
        waiting: its turn is over although requests are left; the transport calls :meth:`turn` in
            the next round, or after :meth:`delay`.
    """

    durable = False

    def __init__(
        self,
        store: Store,
        domid: int,
        name: str,
        label: str = "",
        tracer: Tracer | None = None,
        on_output: Callable[[], None] | None = None,
    ) -> None:
        self.store = store
        self.domid = domid
        self.target = -1
        domain = store.domains.get(domid)
        if domain is not None:
            self.target = domain.target
        self.home = paths.home(domid)
        self.name = name
        self.label = label
        self.tracer = tracer
        self.on_output = on_output
        self.out = bytearray()
        self.broken = ""
        self.watches: dict[tuple[bytes, bytes], Watch] = {}
        self.transactions: dict[int, Transaction] = {}
        self.after_reply: list[bytes] = []
        self.lost_events = 0
        self.waiting = False
        self._budget = TURN
        """What is left of the turn, in requests answered and nodes changed."""
        self._limited = domid != PRIVILEGED_DOMID
        self._queued: deque[int] = deque()
        """Lengths of the messages in ``out``; not kept for dom0."""
        self._in = bytearray()
        self._next_tx = 0
        self._paths: dict[bytes, bytes] = {}
        self._unread: dict[bytes, None] = {}
        store.connections.add(self)
        if tracer is not None:
            tracer.note(self, "connected")

    # -- bytes -----------------------------------------------------------------------------------

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

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes from the peer and answer every request that is complete."""
        if not self.broken:
            self._in += data
            self._budget = TURN
            self._work()

    def turn(self) -> None:
        """Go on with the requests that were left over in the last round."""
        self.waiting = False
        self._budget = TURN
        if self._in and not self.broken:
            self._work()

    def delay(self) -> float:
        """Seconds until :meth:`turn` may be called; 0.0: in the next round."""
        governor = self.store.governor
        return governor.held(self.domid) if governor is not None and self._limited else 0.0

    def unread(self) -> None:
        """The transport could not move anything: say so when that holds a domain's requests up."""
        if self._limited and len(self._queued) >= self.store.limits.outstanding:
            self.store.limit("outstanding", self.domid, "it does not read; its requests wait")

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
        if self._in and not self.broken and not self.stalled:
            self._work()

    def _work(self) -> None:
        data = self._in
        position = 0
        end = len(data)
        limited = self._limited
        tree = self.store.tree
        if limited and self.delay() > 0.0:
            self.waiting = True
            return
        tree.actor = self.domid
        while end - position >= _HEADER_SIZE:
            type, req_id, tx_id, length = _HEADER.unpack_from(data, position)
            if length > _PAYLOAD_MAX:
                self.fail(f"a message of {length} bytes is over the limit of {_PAYLOAD_MAX}")
                return
            stop = position + _HEADER_SIZE + length
            if stop > end or len(self.out) >= OUTPUT_HIGH:
                break
            if limited:
                if len(self._queued) >= self.store.limits.outstanding:
                    break
                if self._budget <= 0:
                    self.waiting = True
                    break
                self._budget -= 1
                spent = tree.generation
            payload = bytes(data[position + _HEADER_SIZE : stop])
            position = stop
            self._handle(type, req_id, tx_id, payload)
            if self.broken:
                return
            if limited:
                self._budget -= tree.generation - spent
        if position:
            del data[:position]

    def _handle(self, type: int, req_id: int, tx_id: int, payload: bytes) -> None:
        reply = type
        try:
            operation = OPERATIONS.get(type)
            if operation is None:
                raise Refused(ENOSYS)
            tx = None
            if tx_id:
                tx = self.transactions.get(tx_id)
                if tx is None:
                    raise Refused(ENOENT)
            answer = operation(self, payload, tx)
        except Refused as refused:
            reply = xs_wire.XS_ERROR
            number = refused.errno if refused.errno in xs_wire.ERROR_NAMES else EINVAL
            if tx_id and self._doomed(tx_id):
                number = EAGAIN  # it saw a store that is no more: let it begin anew
            answer = xs_wire.ERROR_NAMES[number].encode() + b"\0"
            if refused.limit:
                whose = refused.domid if refused.domid >= 0 else self.domid
                name = xs_wire.TYPE_NAMES.get(type, str(type))
                what = payload.partition(b"\0")[0][:80].decode("utf-8", "backslashreplace")
                self.store.limit(refused.limit, whose, f"{name} {what} refused, {refused}")
        except Exception as bug:
            # No request may take the store away from everybody else.
            if self.store.on_bug is None:
                raise
            self.store.on_bug(f"{self.name}: request {type} {payload!r}", bug)
            reply, answer = xs_wire.XS_ERROR, xs_wire.ERROR_NAMES[EIO].encode() + b"\0"
        if len(answer) > _PAYLOAD_MAX:
            reply, answer = xs_wire.XS_ERROR, xs_wire.ERROR_NAMES[EIO].encode() + b"\0"
        self._send(_HEADER.pack(reply, req_id, tx_id, len(answer)) + answer)
        if self.tracer is not None:
            self.tracer.request(self, type, tx_id, payload, reply, answer)
        if self.after_reply:
            for event in self.after_reply:
                self.send_event(event)
            self.after_reply.clear()

    def _send(self, message: bytes) -> None:
        out = self.out
        empty = not out
        out += message
        if self._limited:
            self._queued.append(len(message))
        if empty and self.on_output is not None:
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
        self._send(_HEADER.pack(xs_wire.XS_WATCH_EVENT, 0, 0, len(payload)) + payload)
        if self.tracer is not None:
            self.tracer.event(self, payload)

    def _overrun(self) -> None:
        if not self.lost_events and self.tracer is not None:
            self.tracer.note(self, "does not read its watch events; they are lost from here on")
        if not self.lost_events:
            self.store.limit("events", self.domid, "it does not read; events are lost")
        self.lost_events += 1

    def fail(self, reason: str) -> None:
        """Give the connection up; the transport closes it or marks its ring."""
        if not self.broken:
            self.broken = reason
            self._in.clear()
            if self.tracer is not None:
                self.tracer.note(self, f"broken: {reason}")

    # -- for the operations ----------------------------------------------------------------------

    def canonical(self, path: bytes) -> bytes:
        """Absolute path of *path*.  Raises Refused(EINVAL)."""
        known = self._paths
        found = known.get(path)
        if found is None:
            found = paths.canonical(path, self.home, self.store.limits.path_max)
            if len(known) >= _PATHS_MAX:
                known.clear()
            known[path] = found
        return found

    def new_transaction_id(self) -> int:
        """An id that no open transaction of this connection has; never 0."""
        while True:
            self._next_tx = (self._next_tx + 1) & 0xFFFFFFFF
            if self._next_tx and self._next_tx not in self.transactions:
                return self._next_tx

    def _doomed(self, number: int) -> bool:
        tx = self.transactions.get(number)
        return tx is not None and tx.doomed

    def drop_transaction(self, tx: Transaction) -> None:
        """Forget an open transaction."""
        for number, open_tx in self.transactions.items():
            if open_tx is tx:
                del self.transactions[number]
                account = self.store.tree.account(self.domid)
                account.transactions -= 1
                account.memory -= tx.memory
                return

    def reset(self) -> None:
        """Drop every watch and transaction."""
        account = self.store.tree.account(self.domid)
        for watch in self.watches.values():
            self.store.watches.remove(watch)
            account.memory -= watch_cost(watch.path, watch.token)
        account.memory -= sum(tx.memory for tx in self.transactions.values())
        account.watches -= len(self.watches)
        account.transactions -= len(self.transactions)
        self.watches.clear()
        self.transactions.clear()
        self.after_reply.clear()

    @property
    def kept(self) -> bytes:
        """Input that was not handled yet: part of a request, or more than one turn allows."""
        return bytes(self._in)

    def go_on(self, kept: bytes, out: bytes) -> None:
        """Continue the streams of a connection to a former daemon."""
        self._in += kept
        self.out += out
        if out and self._limited:
            self._queued.append(len(out))
        self.waiting = bool(kept)  # a request in it may be complete

    def begin_anew(self) -> None:
        """Forget everything, a failure too: the peer begins the conversation again."""
        self.reset()
        self._in.clear()
        self.out.clear()
        self._queued.clear()
        self._unread.clear()
        self.waiting = False
        self.broken = ""
        if self.tracer is not None:
            self.tracer.note(self, "begun anew")

    def close(self) -> None:
        """The connection has gone.  Idempotent."""
        if self in self.store.connections:
            self.store.connections.discard(self)
            self.reset()
            self.on_output = None  # no circle: what has gone is freed at once
            if self.tracer is not None:
                self.tracer.note(self, "closed")
        self.broken = self.broken or "closed"
