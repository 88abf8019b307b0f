"""How soon what has died is started again, and when no more.  Pure.

The first death of a minute costs no wait, each further one twice as long as the one before; what
has died too often in that minute is given up.  A death that somebody asked for (``hvsim fault``)
says nothing of the program and is not counted.
"""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW: Final = 60.0
"""Seconds that a death is held against whoever died."""
LIMIT: Final = 8
"""Deaths within WINDOW; at the last of them it is given up."""


class Restarts:
    """The deaths of one process, or of one domain through all its lives.

    Args:
        first, most: seconds to wait at the second death within WINDOW, and at most.

    Attributes:
        count: how often it was, or is to be, started again.
    """

    def __init__(self, first: float = 0.1, most: float = 5.0) -> None:
        self._first: Final = first
        self._most: Final = most
        self._deaths: Final[deque[float]] = deque(maxlen=LIMIT)
        self.count = 0

    def died(self, now: float, *, struck: bool = False) -> float | None:
        """It died at *now* (seconds of a clock that never goes back).

        Args:
            struck: somebody asked for it.

        Returns the seconds after which it is to be started again; None: never.
        """
        recent = self.recent(now)
        if not struck:
            self._deaths.append(now)
            recent += 1
            if recent >= LIMIT:
                return None
        self.count += 1
        return 0.0 if struck or recent < 2 else min(self._most, self._first * 2 ** (recent - 2))

    def recent(self, now: float) -> int:
        """How many deaths are held against it."""
        return sum(now - death < WINDOW for death in self._deaths)

    def record(self) -> dict[str, object]:
        """A form that outlives this process, whose clock goes on in the next."""
        return {"count": self.count, "deaths": list(self._deaths)}

    def restore(self, record: object) -> None:
        """Take over what :meth:`record` wrote; anything else changes nothing."""
        if isinstance(record, dict):
            deaths, count = record.get("deaths"), record.get("count")
            if isinstance(deaths, list) and isinstance(count, int):
                self._deaths.extend(float(d) for d in deaths if isinstance(d, int | float))
                self.count = count


def given_up(name: str, last: str = "") -> str:
    """The sentence about what is not started any more; *last*: how its last life ended."""
    end = f": {last}" if last else ""
    return f"{name} has died {LIMIT} times within {WINDOW:g} s and stays dead{end}"
