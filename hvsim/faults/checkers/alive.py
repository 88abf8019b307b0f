"""Nobody died whom nobody killed: a guest that finds a wrong byte ends as crashed.  Pure."""

from __future__ import annotations

from collections.abc import Mapping

from hvsim.faults.checkers.verdict import Verdict


def alive(guests: Mapping[str, str]) -> Verdict:
    """Judge guests by name: "" for one that runs, else how it has ended."""
    problems = [f"{name} {how}" for name, how in sorted(guests.items()) if how]
    return Verdict(f"{len(guests)} guests", tuple(problems))
