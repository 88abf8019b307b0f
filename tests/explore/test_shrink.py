"""The least that still fails, of failures that are planted.

Seen red: with `thinned` that never tries to leave one part out; with `cut` that steps too far.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hvsim.explore.shrink import cut, thinned

SETS = st.sets(st.integers(0, 199), max_size=12)


class Planted:
    """Fails when all of *needed* is there; counts what it is asked."""

    def __init__(self, needed: set[int], most: int = 1 << 30) -> None:
        self.needed = needed
        self.asked = 0
        self.most = most

    def __call__(self, candidates: list[tuple[int, ...]]) -> int | None:
        for place, candidate in enumerate(candidates):
            self.asked += 1
            if self.asked > self.most:
                return None
            if self.needed <= set(candidate):
                return place
        return None


@given(SETS)
def test_the_least_is_found(needed: set[int]) -> None:
    assert set(thinned(range(200), Planted(needed))) == needed


@given(SETS)
def test_nothing_behind_the_failure_is_kept(needed: set[int]) -> None:
    asked = Planted(needed)
    assert len(cut(range(200), asked)) == max(needed, default=-1) + 1
    assert asked.asked <= 9


@given(st.sets(st.integers(0, 99), min_size=1), st.integers(0, 99))
def test_no_single_one_can_be_left_out(weights: set[int], least: int) -> None:
    """Of a failure that has many least parts: so much of a sum."""
    enough = min(least, sum(weights))

    def fails(candidates: list[tuple[int, ...]]) -> int | None:
        return next((at for at, one in enumerate(candidates) if sum(one) >= enough), None)

    best = thinned(sorted(weights), fails)
    assert sum(best) >= enough
    assert all(sum(best) - one < enough for one in best)


def test_the_order_stays() -> None:
    assert thinned([5, 3, 9, 1], Planted({9, 5})) == (5, 9)


@given(SETS, st.integers(0, 60))
def test_who_has_had_enough_is_answered_with_what_fails(needed: set[int], most: int) -> None:
    asked = Planted(needed, most)
    assert needed <= set(thinned(cut(range(200), asked), asked))
