"""Calls that are due later.  Pure: the time is handed in.

Deadlines are seconds of system time; equal ones fire in the order in which they were made.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

Handler = Callable[[], None]


class Timer:
    """A call that is due later; made by :meth:`VCPU.call_later`."""

    __slots__ = ("_fn",)

    def __init__(self, fn: Handler) -> None:
        self._fn: Handler | None = fn

    @property
    def active(self) -> bool:
        """False once the call was made or cancelled."""
        return self._fn is not None

    def cancel(self) -> None:
        """Drop the call if it has not been made.  Idempotent."""
        self._fn = None

    def fire(self) -> None:
        """Make the call, if it was not dropped."""
        fn, self._fn = self._fn, None
        if fn is not None:
            fn()


class Timers:
    """The timers of a vCPU.

    Attributes:
        waiting: (deadline, number, timer) of each, as a heap; those that were cancelled included.
            Empty when there is nothing to look at.
    """

    def __init__(self) -> None:
        self.waiting: Final[list[tuple[float, int, Timer]]] = []
        self._count = 0

    def add(self, deadline: float, fn: Handler) -> Timer:
        """Call *fn* when *deadline* has come."""
        timer = Timer(fn)
        self._count += 1
        heapq.heappush(self.waiting, (deadline, self._count, timer))
        return timer

    def deadline(self) -> float | None:
        """When the next call is due; None when there is none."""
        waiting = self.waiting
        while waiting:
            if waiting[0][2].active:
                return waiting[0][0]
            heapq.heappop(waiting)
        return None

    def run(self, now: float) -> None:
        """Make the calls that are due at *now*.  One that is made meanwhile, and is due at once,
        waits for the next time: nobody can keep the domain here for ever."""
        last = self._count
        waiting = self.waiting
        later: list[tuple[float, int, Timer]] = []
        try:
            while waiting and waiting[0][0] <= now:
                entry = heapq.heappop(waiting)
                if entry[1] > last:
                    later.append(entry)
                else:
                    entry[2].fire()
        finally:
            for entry in later:
                heapq.heappush(waiting, entry)
