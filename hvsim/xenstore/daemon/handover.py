"""Live update: the store's program is replaced while it runs, and nobody is disconnected.

As the C daemon does it: the process executes the new program in its own place.  It keeps its pid,
its hypercall connection and its sockets; the store itself goes through the journal, of which a
fresh snapshot is written first, and the rings are taken over as after a death.  What a death takes
away and this keeps are the socket clients: their descriptors stay open over ``execve``, and what
belongs to each (watches, a half-read request, unsent output) travels in a memfd.

    CONTROL live-update             the number of this life of the store
    CONTROL live-update -s [-F] [-t SECONDS]
                                    replace it, at the first moment without an open transaction;
                                    with -F at once, and after SECONDS (2) in any case
    CONTROL live-update -a          as the C daemon, when there is nothing to be given up

Another program (``live-update FILE``) or command line (``-c``) has no store of ours in it: that is
answered in words.

A transaction that is open then can only end in EAGAIN.  Should the new program not come up, the
process ends, and it is started again like one that was killed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import hvsim
from hvsim.abi.errno import EINVAL
from hvsim.wire import packing
from hvsim.wire.descriptors import CONN_FD, UPCALL_FD
from hvsim.xenstore.rules.errors import Refused
from hvsim.xenstore.rules.quota import watch_cost
from hvsim.xenstore.rules.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hvsim.xenstore.rules.connection import Connection
    from hvsim.xenstore.rules.core import Store

DEFAULT_TIMEOUT: Final = 2.0
"""Seconds that open transactions have to end by themselves."""
_TIMEOUT_MAX: Final = 600
OURS_ALONE: Final = b"this store can only be replaced by itself: `hvsim xenstore live-update`\0"


def control(store: Store, arguments: list[bytes]) -> bytes:
    """``live-update``.  Raises Refused: EINVAL for other arguments; ENOSYS for a store without a
    journal."""
    if not arguments:
        return b"%d\0" % store.life
    if arguments == [b"-a"]:
        return b"OK\0"
    if arguments[0] == b"-c" or (len(arguments) == 1 and not arguments[0].startswith(b"-")):
        return OURS_ALONE
    timeout = DEFAULT_TIMEOUT
    start = False
    words = iter(arguments)
    for word in words:
        if word == b"-s":
            start = True
        elif word == b"-F":
            timeout = 0.0
        elif word == b"-t":
            seconds = next(words, b"")
            if not seconds.isdigit() or int(seconds) > _TIMEOUT_MAX:
                raise Refused(EINVAL)
            timeout = float(int(seconds))
        else:
            raise Refused(EINVAL)
    if not start:
        raise Refused(EINVAL)
    store.host.live_update(timeout)
    return b"OK\0"


def pack(connection: Connection) -> dict[str, Any]:
    """What belongs to a socket's connection."""
    return {
        "name": connection.name,
        "label": connection.label,
        "kept": connection.kept,
        "out": bytes(connection.out),
        "watches": [
            (watch.path, watch.prefix, watch.token) for watch in connection.watches.values()
        ],
        "transactions": list(connection.transactions),
    }


def unpack(connection: Connection, state: Mapping[str, Any]) -> None:
    """Give it to a new connection.  Whatever was half-way goes on at its next :meth:`turn`."""
    store = connection.store
    account = store.tree.account(connection.domid)
    for path, prefix, token in state["watches"]:
        watch = store.watches.add(connection, path, prefix, token)
        connection.watches[path, token] = watch
        account.watches += 1
        account.memory += watch_cost(path, token)
    adopt_transactions(connection, state["transactions"])
    connection.go_on(state["kept"], state["out"])


def adopt_transactions(connection: Connection, numbers: Iterable[int]) -> None:
    """Give *connection* the transactions that it had with a former daemon: they end in EAGAIN."""
    store = connection.store
    for number in numbers:
        tx = connection.transactions[number] = Transaction(store.tree, None)
        tx.doomed = True
        store.tree.account(connection.domid).transactions += 1


def execute(
    spec: Mapping[str, Any], servers: list[dict[str, Any]], successor: Sequence[str]
) -> NoReturn:
    """Become the new program.  Raises OSError.

    Args:
        spec: how this process was spawned.
        servers: what each ``SocketServer`` handed over; the descriptors in it stay open.
        successor: arguments of the interpreter, to which the number of a descriptor is added.
    """
    fd = os.memfd_create("xenstored-state", 0)
    with open(fd, "wb", closefd=False) as out:
        out.write(packing.pack({"spec": dict(spec), "servers": servers}))
    os.lseek(fd, 0, os.SEEK_SET)
    for kept in (CONN_FD, UPCALL_FD, fd):
        os.set_inheritable(kept, True)
    ours = str(Path(hvsim.__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([ours, *spec.get("path", ())])}
    sys.stdout.flush()
    sys.stderr.flush()
    argv = [sys.executable, "-X", "utf8", *successor, str(fd)]
    os.execve(sys.executable, argv, environment)
