"""TCP on the domain's one loop: sockets of the guest's own network stack, never waited for.

What a peer sends is handed to a callback piece by piece; what it does not take is kept up to a
limit, beyond which the connection is closed. A peer that is slow or gone costs its own connection.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from hvsim.names import address as addresses

if TYPE_CHECKING:
    from hvsim.domain import Domain

UNSENT_MAX: Final = 1 << 20
"""Bytes that may wait for a peer to take them."""
PIECE: Final = 1 << 16
TURN: Final = 16
"""Pieces of a long answer for one peer before the others have their turn."""
BACKLOG: Final = 64
RETRY: Final = 0.1
"""Seconds until a server that was not there is tried again."""
_UNDER_WAY: Final = (errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK)


class Connection:
    """One TCP connection.

    Attributes:
        peer: its address, for a log.
        received: called with every piece that comes.
        closed: called once with the reason when it ends, unless `close` ended it.
        unsent: bytes that the other end has not taken, at most UNSENT_MAX with those behind.
    """

    def __init__(self, dom: Domain, sock: socket.socket, peer: str) -> None:
        self.peer = peer
        self.received: Callable[[bytes], None] = lambda _piece: None
        self.closed: Callable[[str], None] = lambda _why: None
        self._dom = dom
        self.unsent = bytearray()
        self._pieces: Iterator[bytes] | None = None
        self._behind = bytearray()
        self._sock: socket.socket | None = sock
        never_wait(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        dom.vcpu.add_fd(sock.fileno(), self._ready)

    @property
    def open(self) -> bool:
        """Whether it is."""
        return self._sock is not None

    def send(self, data: bytes) -> None:
        """Send `data`, as soon as the peer takes it."""
        sock = self._sock
        if sock is None:
            return
        if self._pieces is not None:
            self._behind += data
        else:
            self.unsent += data
        if len(self.unsent) + len(self._behind) > UNSENT_MAX:
            self._end("it takes nothing")
        elif self._pieces is None:
            self._flush(sock)

    def stream(self, pieces: Iterator[bytes]) -> None:
        """Send `pieces` (each of `PIECE` bytes at most), fetching one when the peer has taken
        those before; what is sent later comes behind them.

        Raises: RuntimeError while another such stream is under way.
        """
        if self._pieces is not None:
            raise RuntimeError("one stream at a time")
        if self._sock is not None:
            self._pieces = pieces
            self._flush(self._sock)

    @property
    def streaming(self) -> bool:
        """Whether a stream is under way."""
        return self._pieces is not None

    def close(self) -> None:
        """End it.  Idempotent."""
        sock, self._sock = self._sock, None
        if sock is not None:
            self._dom.vcpu.remove_fd(sock.fileno())
            sock.close()

    def _ready(self) -> None:
        sock = self._sock
        if sock is None:
            return
        if self.unsent or self._pieces is not None:
            self._flush(sock)
            if self._sock is None:
                return
        try:
            piece = sock.recv(PIECE)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(error.strerror or str(error))
            return
        if piece:
            self.received(piece)
        else:
            self._end("the peer closed it")

    def _flush(self, sock: socket.socket) -> None:
        try:
            for _ in range(TURN):
                if not self.unsent and not self._fetch():
                    break
                sent = sock.send(self.unsent)
                del self.unsent[:sent]
        except BlockingIOError:
            pass
        except OSError as error:
            self._end(error.strerror or str(error))
            return
        more = bool(self.unsent) or self._pieces is not None
        self._dom.vcpu.modify_fd(sock.fileno(), write=more)

    def _fetch(self) -> bool:
        """The next piece of the stream, or what was sent behind it; False without either."""
        if self._pieces is None:
            return False
        piece = next(self._pieces, None)
        if piece is None:
            self._pieces = None
            piece = bytes(self._behind)
            self._behind.clear()
        self.unsent += piece
        return bool(self.unsent)

    def _end(self, why: str) -> None:
        self.close()
        self.closed(why)


class Listener:
    """A TCP port.  `accepted` gets every connection that is made to it."""

    def __init__(self, dom: Domain, port: int, accepted: Callable[[Connection], None]) -> None:
        """Raises: OSError when the port cannot be had."""
        self._dom = dom
        self._accepted = accepted
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._sock.bind(("", port))
            self._sock.listen(BACKLOG)
            never_wait(self._sock)
        except OSError:
            self._sock.close()
            raise
        self.port = int(self._sock.getsockname()[1])
        dom.vcpu.add_fd(self._sock.fileno(), self._ready)

    def close(self) -> None:
        """Take no more."""
        self._dom.vcpu.remove_fd(self._sock.fileno())
        self._sock.close()

    def _ready(self) -> None:
        try:
            sock, (host, port) = self._sock.accept()
        except OSError:
            return  # it has gone again, or no descriptor is left: it waits
        self._accepted(Connection(self._dom, sock, f"{host}:{port}"))


class Dialer:
    """Connects to a server, again and again until it is there."""

    def __init__(
        self, dom: Domain, address: tuple[str, int], connected: Callable[[Connection], None]
    ) -> None:
        self._dom = dom
        self._address = address
        self._connected = connected
        self._sock: socket.socket | None = None
        self.failures = 0

    def start(self) -> None:
        """Begin, or begin again."""
        self.drop()
        sock = self._sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        never_wait(sock)
        number = sock.connect_ex(self._address)
        if number and number not in _UNDER_WAY:
            self._later()
            return
        self._dom.vcpu.add_fd(sock.fileno(), self._ready, write=True)

    def _ready(self) -> None:
        sock = self._sock
        if sock is None:
            return
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._dom.vcpu.remove_fd(sock.fileno())
            self._later()
            return
        self._sock = None
        self._dom.vcpu.remove_fd(sock.fileno())
        host, port = self._address
        self._connected(Connection(self._dom, sock, f"{host}:{port}"))

    def _later(self) -> None:
        self.failures += 1
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()
        self._dom.vcpu.call_later(RETRY, self.start)

    def drop(self) -> None:
        """Give up the attempt that is under way.  Idempotent."""
        sock, self._sock = self._sock, None
        if sock is not None:
            self._dom.vcpu.remove_fd(sock.fileno())
            sock.close()


def never_wait(sock: socket.socket) -> None:
    """Make a socket non-blocking.  Not by `setblocking`: the walls of a domain refuse its ioctl,
    which could stop a peer that shares an eventfd; this way they can see that it does not."""
    flags = fcntl.fcntl(sock, fcntl.F_GETFL)
    fcntl.fcntl(sock, fcntl.F_SETFL, flags | os.O_NONBLOCK)


def address_of(dom: Domain, name: str) -> str:
    """The address of another guest, by its name in the lab; an address stands for itself.

    Raises: ValueError that says which names there are.
    """
    hosts = dom.args.get("hosts")
    known = hosts if isinstance(hosts, dict) else {}
    if name in known:
        return addresses.plain(str(known[name]))
    try:
        return str(addresses.address(name))
    except ValueError:
        there = ", ".join(sorted(map(str, known))) or "none"
        raise ValueError(f"no guest {name!r} with an address; there are: {there}") from None
