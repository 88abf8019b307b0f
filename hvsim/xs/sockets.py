"""Where the store's sockets are, and how one is opened: a wire that says who is calling."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Final

DEFAULT_SOCKET: Final = "/run/xenstored/socket"
"""Where Xen's own xenstored listens."""
_unique = 0


def door_path(socket_path: str | Path, domid: int) -> Path:
    """Socket whose clients act as *domid*, beside the tools' socket *socket_path*."""
    return Path(socket_path).with_name(f"d{domid}")


def default_socket() -> str:
    """The socket that Xen's tools would use: XENSTORED_PATH, or the system's."""
    return os.environ.get("XENSTORED_PATH") or DEFAULT_SOCKET


def label_address(lab: str, label: str) -> bytes:
    """An unused abstract address that names a client for the store's trace.

    A client that binds its socket to it before it connects is called *label* there.
    """
    global _unique
    _unique += 1
    return f"\0hvsim-{lab}/{label}/{os.getpid()}.{_unique}".encode()


def open_socket(
    path: str, label: str = "", lab: str = "", *, blocking: bool = True
) -> socket.socket:
    """A connected socket to the store at *path*.

    Raises: OSError, with *path* as its filename; EAGAIN when it is not *blocking* and the store
        has left so many knocks unanswered that no more can wait.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(blocking)
        if label:
            sock.bind(label_address(lab, label))
        sock.connect(path)
    except OSError as error:
        sock.close()
        full = "no room in its queue of connections" if error.errno == errno.EAGAIN else ""
        raise OSError(error.errno, full or os.strerror(error.errno or 0), path) from None
    return sock
