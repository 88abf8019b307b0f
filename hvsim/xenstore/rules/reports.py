"""What is said when a limit bites, and how often.

Users of Xen see only "connection failed" or ENOSPC somewhere in a driver.  Here the line names the
domain, the limit, its value, the request and the remedy.  One domain cannot flood the ledger: each
(domain, limit) has a rate, and the next line says how many were left out.
"""

from __future__ import annotations

from collections.abc import Callable

from hvsim.xenstore.rules.quota import Limits


def sentence(limits: Limits, name: str, domid: int, what: str, left_out: int = 0) -> str:
    """The line for a limit: a quota of ``control quota``, or one of the daemon's own bounds."""
    try:
        value = limits.value(name)
    except KeyError:
        text = f"d{domid}: store limit '{name}': {what}"
    else:
        text = (
            f"d{domid}: store quota '{name}' ({value}) reached: {what}. "
            f"Remedy: {name} = ... under [store.quota] in the lab file, "
            f"or at once: hvsim xenstore control quota set {name} N"
        )
    return f"{text} ({left_out} more like it were not reported)" if left_out else text


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
