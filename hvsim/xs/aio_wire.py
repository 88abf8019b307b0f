"""What the asynchronous client stands on: a watch to take events from, and the byte stream."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from hvsim.abi import errno as xen_errno
from hvsim.abi import xs_wire
from hvsim.xs.requests import Request, StoreDisconnected

_HEADER: Final = xs_wire.XSD_SOCKMSG.struct
_HEADER_SIZE: Final = _HEADER.size
TX_MASK: Final = 0xFFFFFFFF
"""The part of a transaction's number that goes over the wire."""

Reply = tuple[int, bytes]
"""Type and payload."""


class AsyncWatch:
    """A registered watch: an async iterator of the paths that changed.

    Attributes:
        path: as registered.
        token: what the store repeats in each event.
        registered: the store knows of it; to be registered anew when it has died.
    """

    def __init__(self, path: str, token: str, callback: Callable[[str], object] | None) -> None:
        self.path = path
        self.token = token
        self._callback = callback
        self._events: deque[str] = deque()
        self._arrived = asyncio.Event()
        self._closed = False
        self.registered = False

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        try:
            return await self.next()
        except StoreDisconnected:
            raise StopAsyncIteration from None

    async def next(self) -> str:
        """The path of the next event.  Raises StoreDisconnected when none can come any more."""
        while not self._events:
            if self._closed:
                raise StoreDisconnected(xen_errno.EIO, "WATCH_EVENT", self.path)
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()

    def _event(self, path: str) -> None:
        if self._callback is not None:
            self._callback(path)
        else:
            self._events.append(path)
            self._arrived.set()

    def _close(self) -> None:
        self._closed = True
        self._arrived.set()


class Wire(asyncio.Protocol):
    """The byte stream: pairs replies with requests, passes events on."""

    def __init__(self, on_event: Callable[[bytes], None], on_lost: Callable[[Wire], None]) -> None:
        self.transport: asyncio.Transport | None = None
        self.waiting: deque[asyncio.Future[Reply]] = deque()
        self._on_event = on_event
        self._on_lost = on_lost
        self._in = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        buffer = self._in
        buffer += data
        position = 0
        end = len(buffer)
        while end - position >= _HEADER_SIZE:
            type, _req, _tx, length = _HEADER.unpack_from(buffer, position)
            stop = position + _HEADER_SIZE + length
            if stop > end:
                break
            payload = bytes(buffer[position + _HEADER_SIZE : stop])
            position = stop
            if type == xs_wire.XS_WATCH_EVENT:
                self._on_event(payload)
            elif self.waiting:
                # A future whose task was cancelled still takes its reply's place.
                future = self.waiting.popleft()
                if not future.done():
                    future.set_result((type, payload))
        del buffer[:position]

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        while self.waiting:
            future = self.waiting.popleft()
            if not future.done():
                future.cancel()
        self._on_lost(self)

    def alive(self) -> bool:
        """Whether the store is still at the other end."""
        return self.transport is not None

    def send(self, batch: Sequence[Request]) -> list[asyncio.Future[Reply]]:
        """Send requests; each future gets its reply, or is cancelled when the store is gone."""
        assert self.transport is not None
        loop = asyncio.get_running_loop()
        out = bytearray()
        futures: list[asyncio.Future[Reply]] = []
        for request in batch:
            future: asyncio.Future[Reply] = loop.create_future()
            futures.append(future)
            out += _HEADER.pack(request.op, 0, request.tx & TX_MASK, len(request.payload))
            out += request.payload
        self.waiting.extend(futures)
        self.transport.write(bytes(out))
        return futures
