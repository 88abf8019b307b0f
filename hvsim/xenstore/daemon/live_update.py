"""Live update: the store's program is replaced while it runs, and nobody is disconnected.

As the C daemon does it: the process executes the new program in its own place.  It keeps its pid,
its hypercall connection and its sockets; the store itself goes through the journal, of which a
fresh snapshot is written first, and the rings are taken over as after a death.  What a death takes
away and this keeps are the socket clients: their descriptors stay open over ``execve``, and what
belongs to each (watches, a half-read request, unsent output) travels in a memfd.

A transaction that is open then can only end in EAGAIN.  Should the new program not come up, the
process ends, and it is started again like one that was killed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import hvsim
from hvsim.wire import packing
from hvsim.wire.descriptors import CONN_FD, UPCALL_FD
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import write
from hvsim.xenstore.daemon.connection import Connection


def dump_state(connection: Connection) -> dict[str, Any]:
    """What belongs to a socket's connection."""
    session = connection.session
    return {
        "name": session.name,
        "label": session.label,
        "kept": connection.inbox.rest,
        "out": bytes(connection.out),
        "watches": [(watch.path, watch.prefix, watch.token) for watch in session.watches.values()],
        "transactions": list(session.transactions),
    }


def read_state(connection: Connection, state: Mapping[str, Any]) -> None:
    """Give it to a new connection.  Whatever was half-way goes on at its next :meth:`turn`."""
    for path, prefix, token in state["watches"]:
        connection.session.add_watch(path, prefix, token)
    connection.session.adopt(state["transactions"])
    connection.go_on(state["kept"], state["out"])


def execute(spec: Spawn, servers: list[dict[str, Any]], successor: Sequence[str]) -> NoReturn:
    """Become the new program.  Raises OSError.

    Args:
        spec: how this process was spawned.
        servers: of each ``SocketServer``, its dumped state; the descriptors in it stay open.
        successor: arguments of the interpreter, to which the number of a descriptor is added.
    """
    fd = os.memfd_create("xenstored-state", 0)
    with open(fd, "wb", closefd=False) as out:
        out.write(packing.pack({"spec": write(spec), "servers": servers}))
    os.lseek(fd, 0, os.SEEK_SET)
    for kept in (CONN_FD, UPCALL_FD, fd):
        os.set_inheritable(kept, True)
    ours = str(Path(hvsim.__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([ours, *spec.path])}
    sys.stdout.flush()
    sys.stderr.flush()
    argv = [sys.executable, "-X", "utf8", *successor, str(fd)]
    os.execve(sys.executable, argv, environment)
