"""Every disk has the size that it had: nobody wrote beyond its end, or cut it.  Pure."""

from __future__ import annotations

from collections.abc import Mapping

from hvsim.faults.checkers.verdict import Verdict


def sizes(before: Mapping[str, int], after: Mapping[str, int]) -> Verdict:
    """Judge bytes of image files, by name: as they were made, and when all has healed."""
    judged = f"{len(before)} images"
    problems = [
        f"{name} had {size} bytes and has {after.get(name, 0)}"
        for name, size in sorted(before.items())
        if after.get(name) != size
    ]
    return Verdict(judged, tuple(problems))
