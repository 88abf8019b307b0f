"""The least of a list that still fails: delta debugging.  Pure; whoever calls makes the runs.

Source: Zeller, Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (IEEE TSE 2002).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")
Fails = Callable[[list[tuple[T, ...]]], int | None]
"""Of some candidates, the place of one that fails, the earlier the better; None: none does."""


def cut(items: Sequence[T], fails: Fails[T]) -> tuple[T, ...]:
    """The shortest beginning that fails, found by halves: nothing behind the failure matters.

    It fails, whether or not longer ones always do.
    """
    best = tuple(items)
    least = 0
    while least < len(best):
        middle = (least + len(best)) // 2
        if fails([best[:middle]]) is not None:
            best = best[:middle]
        else:
            least = middle + 1
    return best


def ddmin(items: Sequence[T], fails: Fails[T]) -> tuple[T, ...]:
    """A part of *items* that fails, and of which no single one can be left out.

    *fails* may say None for all that it is asked once it has had enough: what has been found until
    then is the answer.
    """
    best = tuple(items)
    if best and fails([()]) is not None:
        return ()
    parts = 2
    while len(best) > 1:
        bounds = [len(best) * part // parts for part in range(parts + 1)]
        spans = list(pairwise(bounds))
        alone = [best[begin:end] for begin, end in spans]
        others = [best[:begin] + best[end:] for begin, end in spans] if parts > 2 else []
        found = fails([*alone, *others])
        if found is None:
            if parts == len(best):
                break
            parts = min(len(best), parts * 2)
        elif found < len(alone):
            best, parts = alone[found], 2
        else:
            best, parts = others[found - len(alone)], max(2, parts - 1)
    return best
