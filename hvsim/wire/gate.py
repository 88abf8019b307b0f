"""The door keeper of a process's ZeroMQ sockets: it asks each peer who it is, before it may speak.

libzmq puts the question for sockets that have a domain (ZMQ_ZAP_DOMAIN), over an inproc socket of
the same context, and lets no byte of the peer through until it has the answer.  Of an ipc peer it
says "host:uid:gid:pid", as the kernel knows them.

Source: ZeroMQ RFC 27 (ZAP); libzmq src/ip.cpp, get_peer_address.
"""

from collections.abc import Sequence
from typing import Final

import zmq

from hvsim.wire.peer import Credentials, is_trusted

ENDPOINT: Final = "inproc://zeromq.zap.01"
DOMAIN: Final = b"hvsim"
_VERSION: Final = b"1.0"
_PARTS: Final = 6


def keep(socket: "zmq.Socket[bytes]") -> None:
    """Have the peers of a socket asked, from its bind on.  A gate must be served by then."""
    socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)


def answer(question: Sequence[bytes]) -> list[bytes]:
    """What to say to one question of libzmq's: 200 to let the peer in, 400 to hang up."""
    number = question[1] if len(question) >= _PARTS else b""
    known = len(question) >= _PARTS and question[0] == _VERSION
    peer = _credentials(question[3]) if known else None
    if peer is not None and is_trusted(peer):
        return [_VERSION, number, b"200", b"", b"", b""]
    return [_VERSION, number, b"400", b"not one of the lab's own people", b"", b""]


def _credentials(address: bytes) -> Credentials | None:
    """None for anything but "host:uid:gid:pid"."""
    parts = address.rsplit(b":", 3)
    if len(parts) != 4 or not all(part.isdigit() for part in parts[1:]):
        return None
    uid, gid, pid = map(int, parts[1:])
    return Credentials(pid, uid, gid)


class Gate:
    """The gate of a process that waits with an epoll of its own.

    Args:
        context: whose sockets it keeps.

    Attributes:
        fd: readable when there may be something to do; as always with ZeroMQ, only the edge is
            to be relied on.
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        self._socket = context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(ENDPOINT)
        self.fd = int(self._socket.getsockopt(zmq.FD))

    def serve(self) -> None:
        """Answer what has been asked."""
        while True:
            try:
                question = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._socket.send_multipart(answer(question))

    def close(self) -> None:
        """Nobody is let in any more."""
        self._socket.close()
