"""Who talks to the toolstack: connections at the control socket, and what goes over them.

A plain Unix socket, so that the toolstack waits for its clients as for everything else; each
message is a msgpack map (``hvsim.wire.frames``).  Who may come in: the lab's own people
(``hvsim.wire.peer``), never a domain's process.

Every queue is bounded.  Nobody is waited for: what a client does not take is kept for it, and it is
not read from meanwhile; one for which too much is kept is hung up on.  A client's messages are
taken one by one, in turns with everything else that the toolstack does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Final, Protocol

from hvsim.wire.endpoints import MESSAGE_MAX
from hvsim.wire.frames import Frames, TooLargeError, framed
from hvsim.wire.packing import pack
from hvsim.wire.peer import credentials, is_trusted

KEPT_MAX: Final = 32 << 20
"""Bytes of answers that are kept for a client."""
_FULL: Final = 256 << 10
"""Bytes from which on a client is not read from."""
_BACKLOG: Final = 128


class Service(Protocol):
    """What the clients are served with.  Nothing of it waits or raises."""

    def receive(self, client: Client, frame: bytes) -> None:
        """A message has come."""

    def oversized(self, client: Client, size: int) -> None:
        """A message of *size* bytes, more than is taken, has come; it is the last one."""

    def left(self, client: Client) -> None:
        """The client is gone."""


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._frames = Frames(MESSAGE_MAX)
        self._transport: asyncio.Transport | None = None
        self._turning = False
        self._full = False

    # -- what the service does ---------------------------------------------------------------

    def send(self, message: Mapping[str, object]) -> None:
        """Send a map, or keep it until the client takes it; nothing for one that has gone."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(framed(pack(dict(message))))
        if transport.get_write_buffer_size() > KEPT_MAX:
            transport.abort()

    def hang_up(self) -> None:
        """Once it has taken what is kept for it."""
        if self._transport is not None:
            self._transport.close()

    # -- what asyncio tells ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        try:
            trusted = is_trusted(credentials(transport.get_extra_info("socket")))
        except OSError:
            trusted = False
        if not trusted:
            transport.abort()
            return
        transport.set_write_buffer_limits(_FULL)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._transport is not None:
            self._frames.feed(data)
            if not self._turning:
                self._turn()

    def pause_writing(self) -> None:
        self._full = True
        self._listen()

    def resume_writing(self) -> None:
        self._full = False
        self._turn()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._transport = None
            self._service.left(self)

    # -- inside ------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Take one message; the next one has its turn when others had theirs."""
        self._turning = False
        if self._full or self._transport is None or self._transport.is_closing():
            return
        try:
            frame = self._frames.take()
        except TooLargeError as error:
            self._service.oversized(self, error.size)
            self.hang_up()
            return
        if frame is not None:
            self._service.receive(self, frame)
            if self._frames.ready:
                self._turning = True
                asyncio.get_running_loop().call_soon(self._turn)
        self._listen()

    def _listen(self) -> None:
        """Read from the client, or leave that."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            if self._full or self._turning:
                transport.pause_reading()
            else:
                transport.resume_reading()


async def serve(path: str, service: Service) -> None:
    """Serve whoever connects to the socket *path*, which is made anew, until cancelled.

    Raises: OSError: no socket can be made there.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        before = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(
            lambda: Client(service), sock=listener, backlog=_BACKLOG
        )
        async with server:
            await server.serve_forever()
