"""The time in which a scenario runs: the machine's, or one that is handed in."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hvsim.xs.waits import Waits


class Clock(Protocol):
    """The time in which a scenario runs."""

    def now(self) -> float:
        """Seconds."""

    def sleep(self, seconds: float) -> None:
        """Let them pass."""


class OfTheMachine:
    """The machine's own."""

    now = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)


class OfTheLab:
    """That of a lab in lockstep, which goes on while somebody waits for it."""

    def __init__(self, waits: Waits) -> None:
        self.now = waits.now
        self.sleep = waits.pause
