"""Liveness: after healing, clients go on being told within a bound.  Pure."""

from __future__ import annotations

from collections.abc import Sequence

from hvsim.faults.checkers.verdict import Verdict


def progress(
    told: Sequence[float], since: float, until: float, within: float, count: int
) -> Verdict:
    """Judge the moments at which a client was told something.

    Args:
        told: the moments, in seconds, in order.
        since: from when on it must go on.
        until: when nobody looked any more.
        within: seconds in which *count* further ones are to come.
    """
    after = [moment for moment in told if moment >= since]
    in_time = [moment for moment in after if moment - since <= within]
    judged = f"{len(in_time)} told within {within:g} s"
    if len(in_time) >= count:
        return Verdict(f"{judged}, number {count} after {in_time[count - 1] - since:.3f} s")
    looked = min(within, until - since)
    return Verdict(judged, (f"{len(in_time)} of {count} told within {looked:.3g} s",))
