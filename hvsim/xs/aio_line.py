"""The connection of the asynchronous client, which is made again when the store has died.

A *line* is a row of sockets, one after the other; :attr:`Line.epoch` counts them.  Its clock is the
loop's.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Final

from hvsim.xs.requests import Request
from hvsim.xs.wire import Conversation, Exchange, TooLong

RETRY_STEP: Final = 0.004
"""Seconds between two attempts to reach a store that has died."""


class Wire(asyncio.Protocol):
    """One socket: bytes come and go."""

    def __init__(self, on_event: Callable[[bytes], None], on_lost: Callable[[Wire], None]) -> None:
        self.transport: asyncio.Transport | None = None
        self._conversation = Conversation()
        self._open: dict[asyncio.Future[bool], None] = {}
        self._on_event = on_event
        self._on_lost = on_lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            for payload in self._conversation.hear(data):
                self._on_event(payload)
        except TooLong:
            if self.transport is not None:
                self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        open_, self._open = self._open, {}
        for future in open_:
            if not future.done():
                future.set_result(True)
        self._on_lost(self)

    def alive(self) -> bool:
        """Whether the store is still at the other end."""
        return self.transport is not None and not self.transport.is_closing()

    def send(self, batch: Sequence[Request[object]]) -> tuple[Exchange, asyncio.Future[bool]]:
        """Send requests; the future is done (True) with the last answer, or when the store is gone.

        Raises: StoreError(E2BIG); nothing is sent then.
        """
        assert self.transport is not None
        over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def done() -> None:
            self._open.pop(over, None)
            if not over.done():
                over.set_result(True)

        exchange = self._conversation.ask(batch, done)
        self._open[over] = None
        out = self._conversation.out
        self.transport.write(bytes(out))
        out.clear()
        return exchange, over


async def over_within(over: asyncio.Future[bool], seconds: float) -> bool:
    """Whether it was over (:meth:`Wire.send`) within so many *seconds*.  A timer and no
    ``asyncio.wait``: every request to the store passes here."""

    def give_up() -> None:
        if not over.done():
            over.set_result(False)

    timer = asyncio.get_running_loop().call_later(seconds, give_up)
    try:
        return await over
    finally:
        timer.cancel()


class Line:
    """The connection as it goes on.

    Args:
        opener: makes a socket that is connected.  May raise OSError.
        on_event: takes the payload of each watch event.
        registrations: the requests that set every watch there is.
        patience: seconds that the store may be away; 0: its death is the end.
        on_end: told when there is none any more, and none will come.

    Attributes:
        epoch: how many stores have died.
        ended: there is none any more.
    """

    def __init__(
        self,
        opener: Callable[[], socket.socket],
        on_event: Callable[[bytes], None],
        registrations: Callable[[], list[Request[object]]],
        patience: float,
        on_end: Callable[[], None],
    ) -> None:
        self.epoch = 0
        self.ended = False
        self._opener = opener
        self._on_event = on_event
        self._registrations = registrations
        self._patience = patience
        self._on_end = on_end
        self._up = asyncio.Event()
        self._reconnecting: asyncio.Task[None] | None = None
        self._wire = Wire(on_event, self._lost)

    async def open(self, deadline: float, room: float) -> None:
        """Connect for the first time, trying again until *deadline* (the loop's time), and until
        *room* while somebody listens who has none.  Raises OSError."""
        await _open_wire(self._wire, self._opener, deadline, room)
        self._up.set()

    async def aclose(self) -> None:
        """Hang up.  Idempotent."""
        self._end()
        if self._reconnecting is not None:
            self._reconnecting.cancel()
        if self._wire.transport is not None:
            self._wire.transport.close()
        await asyncio.sleep(0)

    async def connected(self) -> bool:
        """Wait until there is a connection; False when there will be none."""
        await self._up.wait()
        return not self.ended and self._wire.alive()

    def alive(self) -> bool:
        """Whether there is a connection now."""
        return self._wire.alive()

    def send(self, batch: Sequence[Request[object]]) -> tuple[Exchange, asyncio.Future[bool]]:
        """See :meth:`Wire.send`."""
        return self._wire.send(batch)

    def _lost(self, wire: Wire) -> None:
        if wire is not self._wire:
            return
        self._up.clear()
        if self._reconnecting is not None and not self._reconnecting.done():
            return  # it died again meanwhile; who is at it sees that
        if self.ended or not self._patience:
            self._end()
        else:
            self.epoch += 1
            self._reconnecting = asyncio.get_running_loop().create_task(self._reconnect())

    def _end(self) -> None:
        self.ended = True
        self._on_end()
        self._up.set()  # whoever waits learns that there will be none

    async def _reconnect(self) -> None:
        """Connect and watch again, within the time that there is patience for."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        try:
            while not await self._rejoin(deadline):
                if loop.time() >= deadline:
                    raise TimeoutError("the store dies again and again")
        except (OSError, TimeoutError):
            self._end()

    async def _rejoin(self, deadline: float) -> bool:
        """One more connection; False when it was lost again at once."""
        wire = Wire(self._on_event, self._lost)
        await _open_wire(wire, self._opener, deadline)
        self._wire = wire
        if not wire.alive():
            return False
        batch = self._registrations()
        if batch:
            left = max(0.1, deadline - asyncio.get_running_loop().time())
            _, over = wire.send(batch)
            if not await over_within(over, left):
                raise TimeoutError("the new store does not answer")
        if not wire.alive():
            return False  # its _lost() has left the next attempt to us
        self._up.set()
        return True


async def _open_wire(
    wire: Wire, opener: Callable[[], socket.socket], deadline: float, room: float = 0.0
) -> None:
    """Connect *wire*; see :meth:`Line.open`.  Raises OSError."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            sock = opener()
            break
        except OSError as failure:
            last = max(deadline, room) if isinstance(failure, BlockingIOError) else deadline
            if loop.time() >= last:
                raise
        await asyncio.sleep(RETRY_STEP)
    try:
        sock.setblocking(False)
        await loop.create_unix_connection(lambda: wire, sock=sock)
    except BaseException:
        sock.close()
        raise
