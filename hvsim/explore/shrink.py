"""The least of a list that still fails: delta debugging.  Pure; whoever calls makes the runs.

Source: Zeller, Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (IEEE TSE 2002), of
which the complements are tried and not the subsets: of an order that was cut to pieces hardly any
piece fails alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def thinned(items: Sequence[T], fails: Fails[T]) -> tuple[T, ...]:
    """A part of *items* that fails, and of which no single one can be left out.

    Pieces are left out, half of it first, then smaller ones, the last before the first: what is
    left out behind changes nothing of what came before, and of an order that is mostly what counts.

    *fails* may say None for all that it is asked once it has had enough: what has been found until
    then is the answer.
    """
    best = tuple(items)
    if best and fails([()]) is not None:
        return ()
    size = max(1, len(best) // 2)
    while len(best) > 1:
        fewer, end = best, len(best)
        while end > 0:
            candidates = [
                fewer[: max(0, last - size)] + fewer[last:] for last in range(end, 0, -size)
            ]
            found = fails(candidates)
            if found is None:
                break
            fewer = candidates[found]
            end -= (found + 1) * size
        if size == 1 and fewer == best:
            break
        best, size = fewer, max(1, min(size, len(fewer)) // 2)
    return best
