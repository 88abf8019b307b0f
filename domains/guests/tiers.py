"""What the three tiers say to each other. Pure.

The client sends HTTP requests to the web guest, ``POST /commit``; the web guest asks the database
guest with a line ``commit``; that one answers ``committed <n>`` when batch n is durable, and only
then does the client hear of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hvsim.errors import BrokenByPeer

DATABASE_PORT: Final = 5432
WEB_PORT: Final = 80
COMMIT: Final = b"commit\n"
COMMITTED: Final = b"committed "
LINE_MAX: Final = 128
HEAD_MAX: Final = 8192
BODY_MAX: Final = 65536
PIECE: Final = 65536
DOWNLOAD_MAX: Final = 1 << 40


class Lines:
    """Cuts a stream into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that are whole now, without their ends.  Raises: BrokenByPeer."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > LINE_MAX or any(len(line) > LINE_MAX for line in lines):
            raise BrokenByPeer(f"a line of more than {LINE_MAX} bytes")
        return lines


def committed(line: bytes) -> int:
    """The batch that the database acknowledges.  Raises: BrokenByPeer."""
    word, _, number = line.partition(b" ")
    if word + b" " != COMMITTED or not number.isdigit():
        raise BrokenByPeer(f"{line[:40]!r} is no acknowledgement")
    return int(number)


@dataclass(frozen=True, slots=True)
class Message:
    """One HTTP/1.1 request or response.

    Attributes:
        first: the three parts of its first line.
    """

    first: tuple[str, str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def keep(self) -> bool:
        """Whether the connection stays open after it."""
        return self.headers.get("connection", "").lower() != "close"


class Messages:
    """Cuts a stream into HTTP messages with a Content-Length (or none: no body)."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[Message]:
        """The messages that are whole now.  Raises: BrokenByPeer."""
        self._rest += piece
        found: list[Message] = []
        while True:
            head, end, rest = self._rest.partition(b"\r\n\r\n")
            if not end:
                if len(self._rest) > HEAD_MAX:
                    raise BrokenByPeer(f"a head of more than {HEAD_MAX} bytes")
                return found
            first, headers = _head(head)
            length = headers.get("content-length", "0")
            if not length.isdecimal() or int(length) > BODY_MAX:
                raise BrokenByPeer(f"a body of {length[:20]!r} bytes")
            if len(rest) < int(length):
                return found
            found.append(Message(first, headers, rest[: int(length)]))
            self._rest = rest[int(length) :]


def _head(head: bytes) -> tuple[tuple[str, str, str], dict[str, str]]:
    line, *fields = head.decode("latin-1").split("\r\n")
    parts = line.split(" ", 2)
    if len(parts) != 3:
        raise BrokenByPeer(f"{line[:40]!r} begins no HTTP message")
    headers = {}
    for field in fields:
        name, colon, value = field.partition(":")
        if not colon:
            raise BrokenByPeer(f"{field[:40]!r} is no header")
        headers[name.strip().lower()] = value.strip()
    return (parts[0], parts[1], parts[2]), headers


def request(method: str, path: str, host: str) -> bytes:
    """A request without a body."""
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n".encode()


def response(status: str, body: str) -> bytes:
    """A response such as "200 OK"."""
    data = body.encode()
    return head(status, len(data)) + data


def head(status: str, length: int, kind: str = "text/plain") -> bytes:
    """What comes before a body of so many bytes."""
    lines = (f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {length}", "", "")
    return "\r\n".join(lines).encode()


def body(length: int) -> Iterator[bytes]:
    """A body of so many bytes, in pieces: noise, each piece with its number before it, so that
    none can be lost, doubled or moved without the checksum telling."""
    noise = hashlib.shake_128(b"hvsim").digest(PIECE - 8)
    for number in range(length // PIECE + 1):
        piece = number.to_bytes(8, "big") + noise
        yield piece[: length - number * PIECE]
