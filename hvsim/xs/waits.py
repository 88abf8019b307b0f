"""How a blocking client waits: on the machine's clock, for it is a command outside of the domains.

The one file of this room that looks at that clock.  A client within a domain is handed waits of its
own, which are those of its vCPU.
"""

from __future__ import annotations

import select
import time
from typing import Protocol


class Waits(Protocol):
    """The clock of a client, and its two ways to let time pass."""

    def now(self) -> float:
        """Monotonic seconds."""

    def pause(self, seconds: float) -> None:
        """Do nothing for so long."""

    def ready(self, fd: int, write: bool, timeout: float | None) -> bool:
        """Wait until *fd* can be read (or, with *write*, written), at most *timeout* seconds;
        None: for ever.  Whether it can."""

    def close(self) -> None:
        """Nobody waits any more."""


class Machine:
    """The machine's."""

    def now(self) -> float:
        """As ``Waits.now``."""
        return time.monotonic()

    def pause(self, seconds: float) -> None:
        """As ``Waits.pause``."""
        time.sleep(seconds)

    def ready(self, fd: int, write: bool, timeout: float | None) -> bool:
        """As ``Waits.ready``."""
        poll = select.poll()
        poll.register(fd, select.POLLIN | (select.POLLOUT if write else 0))
        # Rounded up: the rest of a millisecond would be looked at again and again.
        return bool(poll.poll(None if timeout is None else max(0, -int(-timeout * 1000 // 1))))

    def close(self) -> None:
        """As ``Waits.close``: nothing is open."""


MACHINE = Machine()
