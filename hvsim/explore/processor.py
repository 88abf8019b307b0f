"""A worker and its labs stay on one processor, each worker on another.

One process of a lab in lockstep runs at a time: on one processor it wakes the next without an
interrupt, and finds in the cache what that has written.  A run takes a quarter less of the
processors' time so.
"""

from __future__ import annotations

import itertools
import os
import socket
from typing import Final

_NAME: Final = "\0hvsim/{user}/processor/{number}/{place}"
"""An abstract address: who holds it keeps to the processor; it is gone with its process."""
_PLACES: Final = 2
"""Workers of one processor: a run waits for Linux a tenth of its time."""

_held: list[socket.socket] = []


def keep() -> int | None:
    """Have this thread stay on the processor to which the fewest workers of this user keep; it, or
    None when all have as many as they may, or there is only one at all.  The place is held for as
    long as the process lives."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) == 1:
        return None
    for place, number in itertools.product(range(_PLACES), allowed):
        held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            held.bind(_NAME.format(user=os.getuid(), number=number, place=place))
            os.sched_setaffinity(0, {number})
        except OSError:
            held.close()
            continue
        _held.append(held)
        return number
    return None
