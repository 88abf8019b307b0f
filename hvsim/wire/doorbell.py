"""The doorbell under event channels and upcalls: an eventfd that nobody can jam.

Both ends of a wire and the hypervisor share one open file, and with it its flags and its counter;
each of them may be hostile to the others.  So nothing here rests on either:

* A bell begins *full*, at the highest value that write(2) gives an eventfd.  **To ring is to take
  one off.**  EFD_SEMAPHORE is for life and lets a read take 1 and no more, so that emptying a bell
  takes 2^64 reads, which is centuries: a read never waits, whatever O_NONBLOCK says.
* A peer that fills it up again, or saturates it, rings nobody and hinders nobody.
* Whoever listens does so edge-triggered (:data:`LISTEN`) for *room*, and reads and writes
  nothing.  The kernel reports each ring, those merged that came before the listener looked; a bell
  that was never rung has no room, so one that was rung before anybody listened is reported at once.

The other way round (a counter that begins at 0, rung by write(2)) there is a value at which the
next ring waits, every peer can set it, and nothing makes a write of an eventfd not wait.

Sources: eventfd(2), epoll(7).
"""

import os
import select
from typing import Final

FULL: Final = 2**64 - 2
"""Where a bell begins (eventfd(2))."""
LISTEN: Final = select.EPOLLOUT | select.EPOLLET
"""What to register with epoll to hear it."""


def make() -> int:
    """A new bell that nobody has rung; its descriptor.  Raises OSError."""
    # Not to wait is asked for the sake of those who write, which nobody has to.
    fd = os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    try:
        os.eventfd_write(fd, FULL)
    except BaseException:
        os.close(fd)
        raise
    return fd


ring = os.eventfd_read
"""Ring a bell.  Never waits.  Raises OSError when the descriptor is no open eventfd."""
