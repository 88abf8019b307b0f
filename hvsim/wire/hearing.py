"""One look at a socket for what has come, without waiting."""

from __future__ import annotations

from socket import MSG_DONTWAIT
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from socket import socket


def heard(sock: socket, most: int) -> bytes | None:
    """At most *most* bytes, or one message, that have come; None while there is nothing.

    Empty when the other end has gone, however it went.
    """
    try:
        return sock.recv(most, MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except OSError:
        return b""
