"""Nobody is told anything while nothing can go on: what answers then has made it up.  Pure."""

from __future__ import annotations

from collections.abc import Sequence

from hvsim.faults.checkers.verdict import Verdict


def quiet(told: Sequence[float], since: float, until: float) -> Verdict:
    """Judge the moments at which a client was told something, between two moments."""
    if until <= since:
        return Verdict("no time", ("the phase was over before anybody could look",))
    within = [moment for moment in told if since < moment <= until]
    judged = f"{until - since:.3g} s"
    if within:
        return Verdict(judged, (f"it was told {len(within)} times (first at {within[0]:.3f} s)",))
    return Verdict(judged)
