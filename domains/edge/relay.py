"""What the edge serves, once somebody is there."""

from __future__ import annotations

import socket
from pathlib import Path

import zmq

from domains.edge.records import Records
from domains.edge.requests import Requests
from hvsim.domain import Domain
from hvsim.wire.endpoints import MESSAGE_MAX, endpoint
from hvsim.wire.gate import Gate, keep


def relay(dom: Domain, control: socket.socket, events: socket.socket, toolstack: Path) -> None:
    """Serve at the two listening sockets until dom0 ends.

    Args:
        toolstack: the socket at which that listens.
    """
    context = zmq.Context()
    gate = Gate(context)
    dom.vcpu.add_fd(gate.fd, gate.serve)
    router = _socket(context, zmq.ROUTER, control)
    publisher = _socket(context, zmq.PUB, events)
    requests = Requests(dom.vcpu, router, str(toolstack))
    dom.vcpu.add_fd(int(router.getsockopt(zmq.FD)), requests.arrived)
    requests.arrived()  # its descriptor tells of what comes from now on
    gate.serve()
    Records(dom, publisher).start()
    dom.serve()


def _socket(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, listener: socket.socket
) -> zmq.Socket[bytes]:
    """One that lets the lab's own people in, at *listener*, which is its own from now on."""
    path = listener.getsockname()
    made = context.socket(kind)
    made.setsockopt(zmq.LINGER, 0)
    made.setsockopt(zmq.MAXMSGSIZE, MESSAGE_MAX)
    keep(made)
    made.setsockopt(zmq.USE_FD, listener.detach())
    made.bind(endpoint(f"ipc://{path}"))
    return made
