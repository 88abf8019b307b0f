"""The tools' Unix socket.

Whoever may connect acts as dom0, or, on a domain's own socket (``doors``), as that domain.  The
peer must be root or the user that runs the daemon; at a domain's socket it may be the domain
itself, which in a lab of root's is somebody else.  The directory of the sockets is closed to other
users.  A client may call itself something in the trace by binding its socket to the abstract
address ``hvsim-<lab>/<LABEL>/<unique>`` first.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from hvsim.wire.peer import credentials, is_a_domains, is_trusted
from hvsim.xenstore.daemon import handover
from hvsim.xenstore.rules.connection import OUTPUT_MAX, Connection, Tracer
from hvsim.xenstore.rules.core import Store
from hvsim.xenstore.rules.permissions import PRIVILEGED_DOMID

_RECV: Final = 16384
_BACKLOG: Final = 128
_MAX_CLIENTS: Final = 4096
DOMAIN_CLIENTS: Final = 64
"""Clients that act as one domain at a time."""
_LABEL: Final = re.compile(rb"\0hvsim-[^/]*/([A-Za-z0-9_.:-]{1,32})(?:/.*)?", re.DOTALL)


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


class SocketServer:
    """Listens at *path* and serves every client.

    Raises: OSError, with *path* as its filename: EADDRINUSE when another store serves there.
    """

    def __init__(
        self,
        path: str,
        store: Store,
        loop: Loop,
        tracer: Tracer | None = None,
        log: Callable[[str], None] = lambda text: None,
        domid: int = PRIVILEGED_DOMID,
        inherited: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = path
        self.domid = domid
        self._store = store
        self._loop = loop
        self._tracer = tracer
        self._log = log
        self._count = 0
        self._clients: set[SocketClient] = set()
        if inherited is None:
            self._listener = _listen(path, 0o666 if domid else 0o600)
        else:
            self._listener = _adopted(inherited["listener"])
            self._count = inherited["count"]
            for client in inherited["clients"]:
                self._adopt(client)
        self._inode = os.stat(path).st_ino
        loop.add_fd(self._listener.fileno(), self._accept)

    @property
    def clients(self) -> int:
        """Number of connected clients."""
        return len(self._clients)

    def close(self) -> None:
        """Close every connection and remove the socket, if it is still ours."""
        for client in list(self._clients):
            client.close()
        self._loop.remove_fd(self._listener.fileno())
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            if os.stat(self.path).st_ino == self._inode:
                os.unlink(self.path)

    def hand_over(self) -> dict[str, Any]:
        """Everything that a new program needs to go on (``handover``); the descriptors stay open
        over its start, and nothing may be served here any more."""
        clients = []
        for client in self._clients:
            if not client.connection.broken:
                clients.append({**handover.pack(client.connection), "fd": client.keep()})
        self._listener.set_inheritable(True)
        return {
            "domid": self.domid,
            "listener": self._listener.fileno(),
            "count": self._count,
            "clients": clients,
        }

    def _adopt(self, state: Mapping[str, Any]) -> None:
        client = SocketClient(
            _adopted(state["fd"]),
            self._loop,
            self._store,
            self.domid,
            state["name"],
            state["label"],
            self._tracer,
            self._clients,
        )
        self._clients.add(client)
        handover.unpack(client.connection, state)
        self._loop.call_later(0.0, client.go_on)

    def _accept(self) -> None:
        # One for each turn of the loop, which reports the next one by itself: the others are served
        # in between, and nobody asks for one that is not there.
        try:
            sock, address = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            self._log(f"cannot accept a connection: {error}")
            return
        most = DOMAIN_CLIENTS if self.domid else _MAX_CLIENTS
        if len(self._clients) >= most or not may_connect(sock, self.domid):
            sock.close()
            return
        self._count += 1
        label = _LABEL.fullmatch(address) if isinstance(address, bytes) else None
        client = SocketClient(
            sock,
            self._loop,
            self._store,
            self.domid,
            f"d{self.domid}s{self._count}" if self.domid else f"s{self._count}",
            label[1].decode() if label else "",
            self._tracer,
            self._clients,
        )
        self._clients.add(client)
        client.serve()  # most have their first request ready


class SocketClient:
    """One connected socket."""

    def __init__(
        self,
        sock: socket.socket,
        loop: Loop,
        store: Store,
        domid: int,
        name: str,
        label: str,
        tracer: Tracer | None,
        clients: set[SocketClient],
    ) -> None:
        self._socket = sock
        self._fd = sock.fileno()
        self._loop = loop
        self._clients = clients
        self._reading = self._open = True
        self._writing = False
        self._inside = False
        self._resuming = False
        self.connection = Connection(store, domid, name, label, tracer, self._output)
        loop.add_fd(self._fd, self.serve)

    def close(self) -> None:
        """Close the socket and drop everything that belongs to the connection.  Idempotent."""
        if self._open:
            self._open = False
            self._clients.discard(self)
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
        try:
            data = self._socket.recv(_RECV, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
        else:
            self.connection.feed(data)

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


def _adopted(fd: int) -> socket.socket:
    sock = socket.socket(fileno=fd)
    sock.set_inheritable(False)
    return sock


def may_connect(sock: socket.socket, domid: int = 0) -> bool:
    """Whether the peer may be served: see :mod:`hvsim.wire.peer`.

    At the door of a domain its own programs may come as well, under an id of their own where it
    has one: of all the doors they see that one alone, in a root directory of their own.
    """
    if not domid:
        return is_trusted(credentials(sock))
    uid = credentials(sock).uid
    return uid in (0, os.geteuid()) or (os.geteuid() == 0 and is_a_domains(uid))


def _listen(path: str, mode: int) -> socket.socket:
    Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        _remove_stale(path)
        before = os.umask(0o777 ^ mode)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, os.strerror(error.errno or 0), path) from None
    return sock


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens to any more.  Raises OSError(EADDRINUSE)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, "another store serves here", path)
