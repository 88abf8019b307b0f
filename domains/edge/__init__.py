"""The edge of a lab: ZeroMQ for people's programs and, later, for other hosts.

Inside everybody talks over plain Unix sockets and waits in its vCPU.  ZeroMQ has threads and waits
of its own, so it lives in this one process of dom0, which passes on:

    zmq/control     ROUTER; a request to the toolstack and the maps of its answer, one message each
    zmq/events      PUB; each record of the hypervisor's ledger, from now on

Nobody of the lab needs it.  Until somebody knocks it is a process that listens and no more.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from hvsim.domain import Domain

_BACKLOG = 100


def main(dom: Domain) -> None:
    """Wait for the first visitor, then serve, until dom0 ends."""
    run = Path(str(dom.args["run_dir"]))
    control, events = (listen(run / "zmq" / name) for name in ("control", "events"))
    knocked: list[int] = []
    for sock in (control, events):
        dom.vcpu.add_fd(sock.fileno(), lambda: knocked.append(1))
    dom.wait(lambda: bool(knocked), None, "somebody to knock")
    for sock in (control, events):
        dom.vcpu.remove_fd(sock.fileno())

    from domains.edge.relay import relay  # ZeroMQ is big: only for one who is there

    relay(dom, control, events, run / "control")


def listen(path: Path) -> socket.socket:
    """A listening socket at *path*, made anew, for this user alone.  Raises: OSError."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    before = os.umask(0o177)
    try:
        made.bind(str(path))
    finally:
        os.umask(before)
    made.listen(_BACKLOG)
    return made
