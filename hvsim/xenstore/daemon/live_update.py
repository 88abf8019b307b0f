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
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import hvsim
from hvsim.wire import packing
from hvsim.wire.descriptors import CONN_FD, UPCALL_FD
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import Message, write
from hvsim.xenstore.daemon.connection import Connection


class ClientState(Message, frozen=True):
    """A socket's client: its descriptor, how it is called, its watches (path, prefix, token), the
    ids of its open transactions, the part of a request that it has sent, and output that it has
    not taken."""

    fd: int
    name: str
    label: str
    watches: tuple[tuple[bytes, int, bytes], ...]
    transactions: tuple[int, ...]
    kept: bytes
    out: bytes


class ServerState(Message, frozen=True):
    """A ``SocketServer``: for which domain, the listening descriptor, how many clients it has had,
    and those that it has."""

    domid: int
    listener: int
    count: int
    clients: tuple[ClientState, ...]


def dump_state(connection: Connection, fd: int) -> ClientState:
    """What belongs to a socket's connection, which stays open as *fd*."""
    session = connection.session
    watches = session.watches.values()
    return ClientState(
        fd=fd,
        name=session.name,
        label=session.label,
        watches=tuple((watch.path, watch.prefix, watch.token) for watch in watches),
        transactions=tuple(session.transactions),
        kept=connection.inbox.rest,
        out=bytes(connection.out),
    )


def read_state(connection: Connection, state: ClientState) -> None:
    """Give it to a new connection.  Whatever was half-way goes on at its next :meth:`turn`."""
    for path, prefix, token in state.watches:
        connection.session.add_watch(path, prefix, token)
    connection.session.adopt(state.transactions)
    connection.go_on(state.kept, state.out)


def execute(spec: Spawn, servers: Sequence[ServerState], successor: Sequence[str]) -> NoReturn:
    """Become the new program.  Raises OSError.

    Args:
        spec: how this process was spawned.
        servers: what goes on; the descriptors in it stay open.
        successor: arguments of the interpreter, to which the number of a descriptor is added.
    """
    fd = os.memfd_create("xenstored-state", 0)
    with open(fd, "wb", closefd=False) as out:
        state = {"spec": write(spec), "servers": [write(server) for server in servers]}
        out.write(packing.pack(state))
    os.lseek(fd, 0, os.SEEK_SET)
    for kept in (CONN_FD, UPCALL_FD, fd):
        os.set_inheritable(kept, True)
    ours = str(Path(hvsim.__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([ours, *spec.path])}
    sys.stdout.flush()
    sys.stderr.flush()
    argv = [sys.executable, "-X", "utf8", *successor, str(fd)]
    os.execve(sys.executable, argv, environment)
