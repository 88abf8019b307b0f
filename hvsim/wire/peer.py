"""Who is at the other end of a Unix socket, and whether that is one of the lab's own people.

The socket's directory keeps other users away, and a domain's root directory hides the path from its
processes.  This is the wall behind those: one of theirs that gets hold of the path all the same has
the user of the lab, but it lives in namespaces of its own, and the kernel says so.

In a lab of root's a domain's process has a user id that nobody else has; the range is one that
systemd's table of ids leaves free (0x70000000 to 0x7FFDFFFF, docs/UIDS-GIDS.md).

Sources: unix(7), SO_PEERCRED; namespaces(7).
"""

import os
import socket
import struct
from functools import cache
from typing import Final, NamedTuple

_CREDENTIALS: Final = struct.Struct("3i")
_KINDS: Final = ("user", "pid")
DOMAINS: Final = 0x7000_0000
"""The user and group id of a domain is this plus the number of its first process."""
_PIDS: Final = 1 << 22  # the most that kernel.pid_max can be


class Credentials(NamedTuple):
    """Of a peer, as it was when it connected; ids and number as this process sees them.

    A number of 0 is that of a process which this one cannot see: in a namespace around its own.
    """

    pid: int
    uid: int
    gid: int


def credentials(sock: socket.socket) -> Credentials:
    """Those of the process that is connected to *sock*.  Raises: OSError."""
    data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return Credentials(*_CREDENTIALS.unpack(data))


def is_a_domains(uid: int) -> bool:
    """Whether a user id is one of those that domains have in a lab of root's."""
    return DOMAINS <= uid < DOMAINS + _PIDS


def is_trusted(peer: Credentials) -> bool:
    """Whether the peer is root or this process's user, in this process's user and process
    namespaces; a domain's process has its own, and no business here."""
    if peer.uid not in (0, os.geteuid()):
        return False
    if peer.pid == 0:
        return True  # in a process namespace around ours: not one of our domains
    try:
        theirs = tuple(os.readlink(f"/proc/{peer.pid}/ns/{kind}") for kind in _KINDS)
    except FileNotFoundError:
        return False  # it has ended; who holds its socket now, nobody knows
    except PermissionError:
        # Root, which an ordinary user may not look at; to root this says that it has just ended.
        return peer.uid == 0 and os.geteuid() != 0
    return theirs == _own_namespaces()


@cache
def _own_namespaces() -> tuple[str, ...]:
    return tuple(os.readlink(f"/proc/self/ns/{kind}") for kind in _KINDS)
