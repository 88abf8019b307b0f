"""A worker and its labs stay on one processor, each worker on another.

One process of a lab in lockstep runs at a time: on one processor it wakes the next without an
interrupt, and finds in the cache what that has written.  A run takes a quarter less of the
processors' time so.
"""

from __future__ import annotations

import os
import socket
from typing import Final

_NAME: Final = "\0hvsim/{user}/processor/{number}"
"""An abstract address: who holds it keeps to the processor; it is gone with its process."""

_held: list[socket.socket] = []


def keep() -> int | None:
    """Stay on a processor to which no other worker of this user keeps, for as long as this process
    lives; it, or None when there is none left, or only one at all."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) == 1:
        return None
    for number in allowed:
        held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            held.bind(_NAME.format(user=os.getuid(), number=number))
            os.sched_setaffinity(0, {number})
        except OSError:
            held.close()
            continue
        _held.append(held)
        return number
    return None
