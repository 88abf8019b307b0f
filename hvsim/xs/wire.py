"""The store's wire: messages cut out of a stream of bytes, and answers paired with requests.

Pure, and the same for everybody who speaks it: the clients over a ring or a socket, the daemon, and
who passes messages on.  A message is ``struct xsd_sockmsg`` and its payload.

Source: xen/io/xs_wire.h.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from hvsim.abi import errno as xen_errno
from hvsim.abi import xs_wire
from hvsim.xs.requests import Request

_HEADER: Final = xs_wire.XSD_SOCKMSG.struct
_SIZE: Final = _HEADER.size
_unpack: Final = _HEADER.unpack_from
_pack: Final = _HEADER.pack
_PAYLOAD_MAX: Final = xs_wire.XENSTORE_PAYLOAD_MAX
_ID_MASK: Final = 0x7FFFFFFF
_TX_MASK: Final = 0xFFFFFFFF
"""The part of a transaction's number that goes over the wire."""

Message = tuple[int, int, int, bytes]
"""Type, number of the request, number of the transaction, payload."""
Reply = tuple[int, bytes]
"""Type and payload of an answer."""


class TooLong(ValueError):
    """A header announces more than a message may have: the stream makes no sense from there on.

    Attributes:
        length: bytes that it announces.
    """

    def __init__(self, length: int) -> None:
        super().__init__(f"a message of {length} bytes is over the limit of {_PAYLOAD_MAX}")
        self.length = length


def pack(type: int, req_id: int, tx_id: int, payload: bytes) -> bytes:
    """A message as it goes over the wire."""
    return _pack(type, req_id, tx_id, len(payload)) + payload


class Inbox:
    """Bytes that came, in whatever pieces; whole messages are taken out one by one.

    Attributes:
        more: there is something left, if only a part of a message.
    """

    __slots__ = ("_data", "_position", "more")

    def __init__(self) -> None:
        self._data = b""
        self._position = 0
        self.more = False

    def add(self, data: bytes) -> None:
        """Bytes have come."""
        # Most often all of them are one message, and nothing is to be copied together.
        self._data = self._data[self._position :] + data if self.more else data
        self._position = 0
        self.more = True

    def take(self) -> Message | None:
        """The next message; None when it is not whole yet.  Raises TooLong."""
        data, position = self._data, self._position
        start = position + _SIZE
        if len(data) < start:
            return None
        type, req_id, tx_id, length = _unpack(data, position)
        if length > _PAYLOAD_MAX:
            raise TooLong(length)
        stop = start + length
        if len(data) < stop:
            return None
        self._position = stop
        self.more = stop < len(data)
        return type, req_id, tx_id, data[start:stop]

    @property
    def whole(self) -> bool:
        """Whether there is a message to be taken."""
        position = self._position
        if len(self._data) < position + _SIZE:
            return False
        length: int = _unpack(self._data, position)[3]
        return length > _PAYLOAD_MAX or len(self._data) >= position + _SIZE + length

    @property
    def rest(self) -> bytes:
        """What was not taken."""
        return self._data[self._position :] if self.more else b""

    def clear(self) -> None:
        """Forget it."""
        self._data = b""
        self._position = 0
        self.more = False


class Exchange:
    """Requests that were sent together, and the answers to them so far, in their order."""

    __slots__ = ("batch", "on_done", "replies")

    def __init__(
        self, batch: Sequence[Request[object]], on_done: Callable[[], object] | None
    ) -> None:
        self.batch = batch
        self.replies: list[Reply] = []
        self.on_done = on_done

    @property
    def done(self) -> bool:
        """Whether every answer is there."""
        return len(self.replies) == len(self.batch)

    @property
    def next(self) -> Request[object]:
        """The first request without an answer; the last one when there is none."""
        return self.batch[min(len(self.replies), len(self.batch) - 1)]


class Conversation:
    """What a client says and hears on one connection.

    Attributes:
        out: bytes on their way to the store; taken from the front by whoever sends them.
    """

    def __init__(self) -> None:
        self.out = bytearray()
        self._inbox = Inbox()
        self._waiting: deque[tuple[int, Exchange]] = deque()
        self._next_id = 0

    def ask(
        self, batch: Sequence[Request[object]], on_done: Callable[[], object] | None = None
    ) -> Exchange:
        """Put *batch* on its way; *on_done* is called with its last answer.

        Raises: StoreError(E2BIG) for a request that is too long (the daemon would end the
            connection, so libxenstore does not send it either); nothing is sent then.
        """
        for request in batch:
            if len(request.payload) > _PAYLOAD_MAX:
                raise request.error(xen_errno.E2BIG)
        exchange = Exchange(batch, on_done)
        for request in batch:
            self._next_id = number = (self._next_id + 1) & _ID_MASK
            self._waiting.append((number, exchange))
            self.out += pack(request.op, number, request.tx & _TX_MASK, request.payload)
        return exchange

    def hear(self, data: bytes) -> list[bytes]:
        """The store has said *data*; returns the payloads of the watch events in it.

        Raises: TooLong for what no store says.
        """
        inbox, waiting = self._inbox, self._waiting
        inbox.add(data)
        events: list[bytes] = []
        while (message := inbox.take()) is not None:
            type, req_id, _tx, payload = message
            if type == xs_wire.XS_WATCH_EVENT:
                events.append(payload)
            elif waiting and waiting[0][0] == req_id:
                exchange = waiting.popleft()[1]
                exchange.replies.append((type, payload))
                if exchange.on_done is not None and exchange.done:
                    exchange.on_done()
            # else: the answer to a request that was given up
        return events

    def give_up(self) -> None:
        """Nobody waits for the answers that are still to come; they are dropped."""
        self._waiting.clear()
