"""Measuring many rows in turn, round by round.

Every round measures each row once, ours and the reference one right after the other; where several
references share one run of ours (``Once``), that stands beside the first of them.  So a machine
that is slow for a second spoils one round of some rows, not a row; and what a row says was gathered
over minutes.  Rows that are on the line are measured for some rounds more.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from benchmarks.needs import LeftOut
from benchmarks.rows import ON_THE_LINE, Pair, Plan, Row

ROUNDS = 5
MOST = 11
"""Rounds of a row that stays on the line."""

P = TypeVar("P", bound=Plan)
T = TypeVar("T")


def in_turn(
    plans: Sequence[P],
    measure: Callable[[P], Pair],
    *,
    rounds: int = ROUNDS,
    most: int = MOST,
) -> list[Row]:
    """Measure all `plans`.  A row for which `measure` raises LeftOut is left out; what else it
    raises passes through."""
    rows = [(plan, Row(plan)) for plan in plans]
    for number in range(1, max(rounds, most) + 1):
        turn = [
            (plan, row)
            for plan, row in rows
            if not row.left_out and (number <= rounds or row.verdict == ON_THE_LINE)
        ]
        if not turn:
            break
        _say(f"round {number}, rows: {len(turn)}")
        for plan, row in turn:
            try:
                row.pairs.append(measure(plan))
            except LeftOut as reason:
                row.left_out = str(reason)
    return [row for _, row in rows]


class Once:
    """What several rows of a round share, so that it is measured once for all of them."""

    def __init__(self) -> None:
        self._plans: set[Plan] = set()
        self._found: dict[str, Any] = {}

    def begin(self, plan: Plan) -> None:
        """`plan` is next; when it was there before, a new round has begun."""
        if plan in self._plans:
            self._plans.clear()
            self._found.clear()
        self._plans.add(plan)

    def get(self, key: str, measure: Callable[[], T]) -> T:
        """What `measure` found in this round.  What it raises passes through."""
        if key not in self._found:
            self._found[key] = measure()
        found: T = self._found[key]
        return found


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)
