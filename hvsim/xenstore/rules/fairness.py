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

    Attributes:
        charged: domid to (credit left, when that was); who is not in it is not held.
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
        self.charged: dict[int, tuple[float, float]] = {}

    def conflict(self, domid: int) -> bool:
        """A transaction failed because of what *domid* did; True when it is held from here on."""
        now = self._clock()
        left = min(self._burst, self._left(domid, now))
        self.charged[domid] = (left - 1.0, now)
        return left >= 0.0 > left - 1.0

    def held(self, domid: int) -> float:
        """Seconds for which *domid* is not to be served; 0.0 when it may be."""
        if domid not in self.charged:
            return 0.0
        left = self._left(domid, self._clock())
        if left >= 0.0:
            if left >= self._burst:
                del self.charged[domid]
            return 0.0
        return -left / self._rate

    def forget(self, domid: int) -> None:
        """The domain has gone; its number may come again."""
        self.charged.pop(domid, None)

    def _left(self, domid: int, now: float) -> float:
        known = self.charged.get(domid)
        if known is None:
            return self._burst
        credit, then = known
        return credit + (now - then) * self._rate
