"""Halt polling: when it pays to look at the ring for a moment before going to sleep.

A look that finds what it looked for spares a bell and a wake-up.  One in vain makes the next ones
rarer, twice as rare each time, so that a slow peer, or a machine with more domains than
processors, does not pay for it, and an idle one does not look at all.
"""

from __future__ import annotations

from typing import Final

_RAREST: Final = 10
"""At worst one in 2**10 occasions is used."""


class HaltPoll:
    """Counts occasions; decides which of them are used: none unless *used*."""

    __slots__ = ("_misses", "_pause", "_used")

    def __init__(self, used: bool = True) -> None:
        self._used = used
        self._pause = 0
        self._misses = 0

    def due(self) -> bool:
        """Whether to look now.  Asked once for each occasion."""
        if self._pause:
            self._pause -= 1
            return False
        return self._used

    def hit(self) -> None:
        """The look found something in time."""
        self._misses = 0

    def missed(self) -> None:
        """The look was in vain."""
        self._misses = min(self._misses + 1, _RAREST)
        self._pause = 1 << self._misses
