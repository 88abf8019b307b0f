"""The clock of a lab in lockstep: it moves when it is moved."""

from typing import Final

from hvsim.hypervisor import clock

BOOT: Final = 1_000_000_000
"""Nanoseconds at which it begins: nobody takes a time for "never"."""
EPOCH: Final = 1_767_225_600_000_000_000
"""Unix time at which it read 0, in nanoseconds: 2026-01-01."""
STEP: Final = 20_000
"""Nanoseconds that a turn takes, as about it would: so times differ, and who is busy for ever does
not keep time from going on."""


class VirtualClock:
    """Nanoseconds since some moment before the boot."""

    def __init__(self) -> None:
        self._now = BOOT
        self._let_go: int | None = None

    def now(self) -> int:
        """What it reads."""
        return self._now if self._let_go is None else self._now + clock.now() - self._let_go

    def wall_clock(self) -> int:
        """Unix time at which it read 0."""
        return EPOCH

    def move(self, to: int) -> None:
        """Go on, at least to there; never back."""
        self._now = max(self._now, to)

    def let_go(self) -> None:
        """From now on it goes on by itself: the machine ends, and that takes its time."""
        self._let_go = clock.now()
