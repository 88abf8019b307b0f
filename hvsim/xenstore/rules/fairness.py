"""What keeps one domain from taking the store away from the others (XSA-206).

Two bounds, both for unprivileged domains only:

* a *turn*: in one round of the daemon a connection is answered :data:`TURN` requests (and changes
  of nodes), then everybody else is looked at before it goes on;
* :class:`Governor`: whoever keeps changing what others' transactions have read makes these fail
  with EAGAIN for ever.  Each failure is charged to the domain that made the change; over its
  allowance its connections are not served for a while, so that a transaction that is begun anew
  gets through.

The allowance is what oxenstored calls ``conflict-burst-limit``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

TURN: Final = 64
"""Requests answered, and nodes changed, before the others have their turn."""
CONFLICT_BURST: Final = 8
"""Transactions of others that a domain may make fail at once."""
CONFLICTS_PER_SECOND: Final = 2.0
"""... and in the long run."""


class Governor:
    """Says for how long a domain is not to be served.

    Args:
        clock: monotonic seconds.
        burst: conflicts that a domain may cause at once.
        per_second: and in the long run.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        burst: float = CONFLICT_BURST,
        per_second: float = CONFLICTS_PER_SECOND,
    ) -> None:
        self._clock = clock
        self._burst = burst
        self._rate = per_second
        self._credit: dict[int, tuple[float, float]] = {}
        """domid to (credit left, when that was)."""

    def conflict(self, domid: int) -> bool:
        """A transaction failed because of what *domid* did; True when it is held from here on."""
        now = self._clock()
        left = min(self._burst, self._left(domid, now))
        self._credit[domid] = (left - 1.0, now)
        return left >= 0.0 > left - 1.0

    def held(self, domid: int) -> float:
        """Seconds for which *domid* is not to be served; 0.0 when it may be."""
        if domid not in self._credit:
            return 0.0
        left = self._left(domid, self._clock())
        if left >= 0.0:
            if left >= self._burst:
                del self._credit[domid]
            return 0.0
        return -left / self._rate

    def forget(self, domid: int) -> None:
        """The domain has gone; its number may come again."""
        self._credit.pop(domid, None)

    def _left(self, domid: int, now: float) -> float:
        known = self._credit.get(domid)
        if known is None:
            return self._burst
        credit, then = known
        return credit + (now - then) * self._rate


class Reports:
    """Bounds how often the same thing is said: *burst* at once, *per_second* in the long run."""

    def __init__(self, clock: Callable[[], float], burst: int = 2, per_second: float = 0.2) -> None:
        self._clock = clock
        self._burst = float(burst)
        self._rate = per_second
        self._rows: dict[tuple[int, str], tuple[float, float, int]] = {}

    def allow(self, domid: int, name: str) -> int | None:
        """How many were left out since the last that was said; None: leave this one out."""
        now = self._clock()
        tokens, then, left_out = self._rows.get((domid, name), (self._burst, now, 0))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        if tokens < 1.0:
            self._rows[domid, name] = (tokens, now, left_out + 1)
            return None
        self._rows[domid, name] = (tokens - 1.0, now, 0)
        return left_out

    def forget(self, domid: int) -> None:
        """The domain has gone."""
        for key in [key for key in self._rows if key[0] == domid]:
            del self._rows[key]
