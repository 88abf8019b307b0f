"""No byte that nobody wrote there: what a register held was written to it, whole.  Pure."""

from __future__ import annotations

from collections.abc import Sequence

from hvsim.faults.checkers.operations import Operation
from hvsim.faults.checkers.verdict import Verdict


def foreign(history: Sequence[Operation]) -> Verdict:
    """Judge every read: 0, or the value of a write of this register that had begun by then."""
    begun = {(one.register, one.value): one.begun for one in history if one.writes}
    reads = [one for one in history if not one.writes]
    judged = f"the bytes of {len(reads)} reads"
    if not reads:
        return Verdict(judged, ("nothing was read: nothing was proven",))
    problems = []
    for one in reads:
        where = f"register {one.register} at {one.ended:.6f} s"
        if one.odd == "damaged":
            problems.append(f"{where}: bytes that are no value at all")
        elif one.odd:
            problems.append(f"{where}: value {one.value} of another register")
        elif one.value and begun.get((one.register, one.value), one.ended) >= one.ended:
            problems.append(f"{where}: value {one.value}, which nobody had written")
    return Verdict(judged, tuple(problems))
