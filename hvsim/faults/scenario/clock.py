"""The time in which a scenario runs: the machine's, or one that is handed in."""

from __future__ import annotations

import time
from typing import Protocol


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
