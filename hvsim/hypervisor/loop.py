"""The hypervisor's one wait: an epoll set, and calls that are due later.

One thread waits here for whatever comes in: calls of domains, answers of the spawner, the end of a
process (its pidfd), a mediated doorbell, a person at the door.
"""

import contextlib
import heapq
import select
from collections.abc import Callable
from typing import Final

MAX_EVENTS: Final = 64
"""Events taken in one round; every connection gives at most one call a round."""
MAX_TIMERS: Final = 64
"""Timers that are run in one round."""


class Loop:
    """Descriptors with their handlers, and timers.

    Args:
        now: monotonic nanoseconds.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._epoll = select.epoll()
        self.modify = self._epoll.modify
        """Wait for other events of a descriptor (``epoll.modify``)."""
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._timer_number = 0

    def watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        """Call *handler* with what has happened to *fd*, from :meth:`round`."""
        self._handlers[fd] = handler
        self._epoll.register(fd, events)

    def unwatch(self, fd: int) -> None:
        """End that. One that is not watched is no error."""
        if self._handlers.pop(fd, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)

    def closed(self, fd: int) -> None:
        """A descriptor that was watched is closed, and so out of the set."""
        self._handlers.pop(fd, None)

    def call_later(self, delay: int, call: Callable[[], None]) -> None:
        """Call back after *delay* nanoseconds; equal deadlines in the order they were made."""
        self._timer_number += 1
        heapq.heappush(self._timers, (self._now() + delay, self._timer_number, call))

    @property
    def next_due(self) -> int | None:
        """When the first timer is due; None while there is none."""
        return self._timers[0][0] if self._timers else None

    def round(self, timeout: float | None) -> None:
        """Wait once, at most *timeout* seconds, and serve what has come and what is due."""
        if self._timers:
            until = max(0.0, (self._timers[0][0] - self._now()) / 1e9)
            timeout = until if timeout is None else min(timeout, until)
        self.serve(timeout, MAX_EVENTS)
        self.run_due()

    def serve(self, timeout: float | None, most: int) -> bool:
        """Wait once, at most *timeout* seconds, and serve at most so many that have come; whether
        there were any."""
        handlers = self._handlers
        found = self._epoll.poll(timeout, most)
        for fd, events in found:
            handler = handlers.get(fd)
            if handler is not None:  # an earlier event of this round may have ended it
                handler(events)
        return bool(found)

    def run_due(self) -> None:
        """Run the timers that are due, or the first of them where they are many."""
        due = MAX_TIMERS
        while due and self._timers and self._timers[0][0] <= self._now():
            heapq.heappop(self._timers)[2]()
            due -= 1

    def close(self) -> None:
        """Let go of the set; the descriptors are their owners'."""
        self._epoll.close()
