"""Requests of ZeroMQ peers, on their way to the toolstack: a connection for each.

A toolstack that dies and comes again is borne as by any other client: what was not sent reaches the
next one, and who hears nothing asks for the ``status``.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Final

import zmq

from domains.edge.peer import Peer
from hvsim.domain.vcpu import VCPU

MAX_PEERS: Final = 128
"""Peers that have a connection; who was silent for longest loses his to a further one."""


class Requests:
    """The ROUTER's end."""

    def __init__(self, vcpu: VCPU, router: zmq.Socket[bytes], toolstack: str) -> None:
        self._vcpu = vcpu
        self._router = router
        self._toolstack = toolstack
        self._peers: dict[bytes, Peer] = {}

    def arrived(self) -> None:
        """Take what has come, until there is no more: a ZeroMQ descriptor tells of changes."""
        while int(self._router.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            identity, *frames = self._router.recv_multipart(zmq.NOBLOCK)
            peer = self._peers.pop(identity, None) or self._new(identity)
            self._peers[identity] = peer  # the last one to be taken away
            peer.send(frames[0] if len(frames) == 1 else b"")  # which is no request: it is told so

    def _new(self, identity: bytes) -> Peer:
        while len(self._peers) >= MAX_PEERS:
            next(iter(self._peers.values())).close()
        answer, gone = partial(self._answer, identity), partial(self._peers.pop, identity, None)
        return Peer(self._vcpu, self._toolstack, answer, gone)

    def _answer(self, identity: bytes, frame: bytes) -> None:
        with contextlib.suppress(zmq.ZMQError):  # gone, or does not read
            self._router.send_multipart([identity, frame], zmq.NOBLOCK)
        # Sending may have taken the word off the descriptor that something has come.
        self._vcpu.call_later(0.0, self.arrived)
