"""A client of the pure store: bytes in, replies and events out, no transport."""

from __future__ import annotations

from hvsim.abi import xs_wire
from hvsim.xenstore.daemon.connection import Connection
from hvsim.xenstore.rules.session import Session
from hvsim.xenstore.rules.store import Store

HEADER = xs_wire.XSD_SOCKMSG.struct


class Peer:
    """One connection of *domid*; ``ask`` makes a request and returns the reply."""

    def __init__(self, store: Store, domid: int = 0, durable: bool = False) -> None:
        self.connection = Connection(Session(store, domid, f"d{domid}", durable=durable))
        self.events: list[tuple[str, str]] = []

    def raw(self, type: int, payload: bytes, tx: int = 0) -> tuple[int, bytes]:
        """One request as it is; the reply's type and payload."""
        self.connection.feed(HEADER.pack(type, 7, tx, len(payload)) + payload)
        replies = self.take()
        assert len(replies) == 1
        return replies[0]

    def take(self) -> list[tuple[int, bytes]]:
        """Everything that was sent to this peer; events go to ``events``."""
        data = bytes(self.connection.out)
        self.connection.sent(len(data))
        replies = []
        while data:
            type, req, _tx, length = HEADER.unpack_from(data)
            payload, data = data[16 : 16 + length], data[16 + length :]
            if type == xs_wire.XS_WATCH_EVENT:
                path, token = payload[:-1].split(b"\0")
                self.events.append((path.decode(), token.decode()))
            else:
                assert req == 7
                replies.append((type, payload))
        return replies

    def ask(self, name: str, *parts: str, tx: int = 0) -> str:
        """A request by name with NUL-terminated arguments (the last one of WRITE without); the
        reply's text, or the name of the error."""
        type = next(number for number, text in xs_wire.TYPE_NAMES.items() if text == name)
        payload = b"".join(part.encode() + b"\0" for part in parts)
        if name == "WRITE" and len(parts) == 2:
            payload = payload[:-1]
        reply, answer = self.raw(type, payload, tx)
        assert reply in (type, xs_wire.XS_ERROR)
        text = answer[:-1] if answer[-1:] == b"\0" else answer
        return text.decode().replace("\0", " ")

    def begin(self) -> int:
        """Start a transaction."""
        return int(self.ask("TRANSACTION_START", ""))

    def end(self, tx: int, commit: bool = True) -> str:
        """End it."""
        return self.ask("TRANSACTION_END", "T" if commit else "F", tx=tx)

    def take_events(self) -> list[tuple[str, str]]:
        """(path, token) of the events since the last call."""
        self.take()
        events, self.events = self.events, []
        return events
