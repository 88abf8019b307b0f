"""The store for programs of the machine inside a domain: what /dev/xen/xenbus is in Linux.

A domain has one connection to its store, the ring of its kernel.  Linux lets programs share it
through a device (drivers/xen/xenbus/xenbus_dev_frontend.c); here it is a Unix socket with the wire
of xenstored, where libxenstore looks when XENSTORED_PATH names it.  For stores that have no socket
for each domain themselves, which are Xen's own daemons.

Each client has watches and transactions of its own, which end with it.  A program is hostile:
what it asks is carried out with the domain's rights and no others, and what it leaves unread is
bounded.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from hvsim.abi import errno as xen_errno
from hvsim.abi import xs_wire
from hvsim.domain.vcpu import VCPU
from hvsim.wire.hearing import heard
from hvsim.xs import requests
from hvsim.xs.client import StoreClient, Watch
from hvsim.xs.errors import StoreError
from hvsim.xs.requests import Request
from hvsim.xs.wire import Inbox, TooLong, pack

MAX_CLIENTS: Final = 64
MAX_WATCHES: Final = 128
"""Watches of one client; the store's own quota is for the whole domain."""
OUTPUT_MAX: Final = 256 * 1024
"""Bytes that a client may leave unread; then it is cut off."""
_BACKLOG: Final = 16
_RECV: Final = 16384
_OK: Final = b"OK\0"


class StoreDoor:
    """Listens at *path* and serves every client over *store*.  Raises OSError.

    Args:
        store: the domain's connection.
        log: told of what goes wrong here.
    """

    def __init__(
        self, store: StoreClient, vcpu: VCPU, path: str, log: Callable[[str], None]
    ) -> None:
        self.store: Final = store
        self.vcpu: Final = vcpu
        self.clients: Final[dict[_Client, None]] = {}
        self._log = log
        self._path = path
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._listener.bind(path)
            self._listener.listen(_BACKLOG)
        except BaseException:
            self._listener.close()
            raise
        vcpu.add_fd(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Let go of every client and of the socket."""
        self.vcpu.remove_fd(self._listener.fileno())
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        for client in list(self.clients):
            client.close()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            self._log(f"{self._path}: {error}")
            return
        if len(self.clients) >= MAX_CLIENTS:
            sock.close()
            return
        sock.setblocking(False)
        self.clients[_Client(self, sock)] = None


class _Client:
    """One connected program."""

    def __init__(self, door: StoreDoor, sock: socket.socket) -> None:
        self._door = door
        self._store = door.store
        self._socket = sock
        self._inbox = Inbox()
        self._out = bytearray()
        self._watches: dict[tuple[str, str], Watch] = {}
        self._transactions: set[int] = set()
        self._open = True
        door.vcpu.add_fd(sock.fileno(), self._ready)

    def close(self) -> None:
        """Hang up, and drop what the client had in the store.  Idempotent."""
        if not self._open:
            return
        self._open = False
        self._door.clients.pop(self, None)
        self._door.vcpu.remove_fd(self._socket.fileno())
        self._socket.close()
        with contextlib.suppress(StoreError, TimeoutError):  # the store may have gone
            self._drop_watches()
            for tx in self._transactions:
                self._store.call(requests.transaction_end(tx, False))

    def _ready(self) -> None:
        self._flush()
        data = heard(self._socket, _RECV)
        if data is None:
            return
        if not data:
            self.close()
            return
        self._inbox.add(data)
        try:
            while self._open and (message := self._inbox.take()) is not None:
                self._serve(*message)
        except TooLong:
            self.close()  # as xenstored does

    def _serve(self, op: int, req_id: int, tx: int, payload: bytes) -> None:
        """Answer one request."""
        try:
            kind, answer = self._carry_out(op, tx, payload)
        except StoreError as error:
            kind, answer = xs_wire.XS_ERROR, _error(error.errno or xen_errno.EIO)
        except TimeoutError:
            kind, answer = xs_wire.XS_ERROR, _error(xen_errno.EIO)
        self._send(kind, req_id, tx, answer)

    def _carry_out(self, op: int, tx: int, payload: bytes) -> tuple[int, bytes]:
        """Type and payload of the answer.  Raises StoreError, TimeoutError."""
        name = xs_wire.TYPE_NAMES.get(op, str(op))
        if op == xs_wire.XS_WATCH:
            self._watch(*_two(payload, name))
            return op, _OK
        if op == xs_wire.XS_UNWATCH:
            watch = self._watches.pop(_two(payload, name), None)
            if watch is None:
                raise StoreError(xen_errno.ENOENT, name, "")
            self._store.unwatch(watch)
            return op, _OK
        if op == xs_wire.XS_RESET_WATCHES:
            self._drop_watches()
            return op, _OK
        if tx and tx not in self._transactions:
            raise StoreError(xen_errno.ENOENT, name, "")
        [(kind, answer)] = self._store.transport.exchange([Request(op, tx, payload, "", bytes)])
        if op == xs_wire.XS_TRANSACTION_END:
            self._transactions.discard(tx)
        elif kind == xs_wire.XS_TRANSACTION_START:
            self._transactions.add(int(answer.rstrip(b"\0")))
        return kind, answer

    def _watch(self, path: str, token: str) -> None:
        key = (path, token)
        if key in self._watches:
            raise StoreError(xen_errno.EEXIST, "WATCH", path)
        if len(self._watches) >= MAX_WATCHES:
            raise StoreError(xen_errno.E2BIG, "WATCH", path)
        self._watches[key] = self._store.watch(path, partial(self._event, token))

    def _drop_watches(self) -> None:
        while self._watches:
            _, watch = self._watches.popitem()
            self._store.unwatch(watch)

    def _event(self, token: str, path: str) -> None:
        payload = requests.encode(path) + b"\0" + requests.encode(token) + b"\0"
        self._send(xs_wire.XS_WATCH_EVENT, 0, 0, payload)

    def _send(self, kind: int, req_id: int, tx: int, payload: bytes) -> None:
        if not self._open:
            return
        self._out += pack(kind, req_id, tx, payload)
        self._flush()
        if len(self._out) > OUTPUT_MAX:
            self.close()

    def _flush(self) -> None:
        try:
            while self._out:
                del self._out[: self._socket.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self._out.clear()  # it has gone; what reads will see that
        self._door.vcpu.modify_fd(self._socket.fileno(), bool(self._out))


def _two(payload: bytes, name: str) -> tuple[str, str]:
    """The two strings of a watch.  Raises StoreError(EINVAL)."""
    words = requests.strings(payload)
    if len(words) != 2:
        raise StoreError(xen_errno.EINVAL, name, "")
    return words[0], words[1]


def _error(number: int) -> bytes:
    return xen_errno.name(number).encode() + b"\0"
