"""One client of a socket in the daemon: when bytes move."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final, Protocol

from hvsim.wire.hearing import heard
from hvsim.xenstore.daemon.connection import OUTPUT_MAX, Connection, Tracer
from hvsim.xenstore.rules.session import Session

_RECV: Final = 16384


class Loop(Protocol):
    """What the server needs of the process's loop (a ``VCPU``)."""

    def add_fd(self, fd: int, handler: Callable[[], None], write: bool = False) -> None:
        """Call *handler* when *fd* is ready."""

    def modify_fd(self, fd: int, write: bool, read: bool = True) -> None:
        """Change what *fd* is watched for."""

    def remove_fd(self, fd: int) -> None:
        """Forget *fd*."""

    def call_later(self, delay: float, fn: Callable[[], None]) -> object:
        """Call *fn* in *delay* seconds."""


class SocketClient:
    """One connected socket."""

    def __init__(
        self,
        sock: socket.socket,
        loop: Loop,
        session: Session,
        tracer: Tracer | None,
        clients: dict[SocketClient, None],
    ) -> None:
        self._socket = sock
        self._fd = sock.fileno()
        self._loop = loop
        self._clients = clients
        self._reading = self._open = True
        self._writing = False
        self._inside = False
        self._resuming = False
        self.connection = Connection(session, tracer, self._output)
        loop.add_fd(self._fd, self.serve)
        clients[self] = None

    def close(self) -> None:
        """Close the socket and drop everything that belongs to the connection.  Idempotent."""
        if self._open:
            self._open = False
            self._clients.pop(self, None)
            self.connection.close()
            self._loop.remove_fd(self._fd)
            self._socket.close()

    def keep(self) -> int:
        """The descriptor, which stays open when another program is executed."""
        self._socket.set_inheritable(True)
        return self._fd

    def go_on(self) -> None:
        """Serve what a former daemon has left over."""
        if self._open:
            self.serve()

    def _output(self) -> None:
        """Bytes came for a client that is not being served right now: an event."""
        if not self._inside and self._open:
            self._writing = True
            self._loop.modify_fd(self._fd, True, self._reading)

    def serve(self) -> None:
        """Send what waits, take what has come, and send the answers."""
        connection = self.connection
        self._inside = True
        try:
            if connection.out:
                self._flush()
            if connection.waiting and not self._resuming:
                connection.turn()
            if self._open and not connection.stalled:
                self._receive()
            if self._open and connection.out:
                self._flush()
        finally:
            self._inside = False
        if not self._open:
            return
        if connection.out:
            connection.unread()
        if len(connection.out) >= OUTPUT_MAX:
            connection.fail("does not read")
        if connection.broken:
            self.close()
            return
        writing, reading = bool(connection.out), not connection.stalled
        if writing != self._writing or reading != self._reading:
            self._writing, self._reading = writing, reading
            self._loop.modify_fd(self._fd, writing, reading)
        if connection.waiting and not self._resuming:
            self._resuming = True
            self._loop.call_later(connection.delay(), self._resume)

    def _resume(self) -> None:
        """The next turn of a client that had more to ask than one turn allows."""
        self._resuming = False
        if self._open:
            self.serve()

    def _receive(self) -> None:
        data = heard(self._socket, _RECV)
        if data is None:
            return
        if data:
            self.connection.feed(data)
        else:
            self.close()

    def _flush(self) -> None:
        connection = self.connection
        while connection.out:
            connection.store.before_output()
            try:
                sent = self._socket.send(connection.out, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            connection.sent(sent)
