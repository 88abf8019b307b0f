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
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hvsim.wire.peer import credentials, is_a_domains, is_trusted
from hvsim.xenstore.daemon.client import Loop, SocketClient
from hvsim.xenstore.daemon.connection import Tracer
from hvsim.xenstore.daemon.live_update import ClientState, ServerState, dump_state, read_state
from hvsim.xenstore.rules.permissions import PRIVILEGED_DOMID
from hvsim.xenstore.rules.session import Session
from hvsim.xenstore.rules.store import Store

_BACKLOG: Final = 128
_MAX_CLIENTS: Final = 4096
DOMAIN_CLIENTS: Final = 64
"""Clients that act as one domain at a time."""
_LABEL: Final = re.compile(rb"\0hvsim-[^/]*/([A-Za-z0-9_.:-]{1,32})(?:/.*)?", re.DOTALL)


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
        inherited: ServerState | None = None,
    ) -> None:
        self.path = path
        self.domid = domid
        self._store = store
        self._loop = loop
        self._tracer = tracer
        self._log = log
        self._count = 0
        self._clients: dict[SocketClient, None] = {}
        if inherited is None:
            self._listener = _listen(path, 0o666 if domid else 0o600)
        else:
            self._listener = _adopted(inherited.listener)
            self._count = inherited.count
            for client in inherited.clients:
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

    def dump_state(self) -> ServerState:
        """Everything that a new program needs to go on (``live_update``); the descriptors stay open
        over its start, and nothing may be served here any more."""
        clients = [
            dump_state(client.connection, client.keep())
            for client in self._clients
            if not client.connection.broken
        ]
        self._listener.set_inheritable(True)
        return ServerState(
            domid=self.domid,
            listener=self._listener.fileno(),
            count=self._count,
            clients=tuple(clients),
        )

    def _adopt(self, state: ClientState) -> None:
        client = self._client(_adopted(state.fd), state.name, state.label)
        read_state(client.connection, state)
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
        name = f"d{self.domid}s{self._count}" if self.domid else f"s{self._count}"
        client = self._client(sock, name, label[1].decode() if label else "")
        client.serve()  # most have their first request ready

    def _client(self, sock: socket.socket, name: str, label: str) -> SocketClient:
        session = Session(self._store, self.domid, name, label)
        return SocketClient(sock, self._loop, session, self._tracer, self._clients)


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
