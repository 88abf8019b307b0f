"""Who picks: from the seed the same each time, and from a tape what is on it.

Seen red: with priorities that never change; without an end of being passed over; with a tape that
is not held within the options; with a record that holds the zeros as well.
"""

import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvsim.hypervisor.lockstep.choices import (
    PASSED_OVER,
    Anyone,
    Chooser,
    Priorities,
    Recorded,
    Tape,
    chooser,
)

NAMES = ("a", "b", "c", "d")
widths = st.lists(st.integers(1, len(NAMES)), max_size=60)


def picked(by: Chooser, options: list[int]) -> tuple[list[int], Recorded]:
    """What is picked of so many options, one choice after the other."""
    recorded = Recorded(by)
    return [recorded.choose(NAMES[:count]) for count in options], recorded


@pytest.mark.parametrize("way", ["random", "pct", "longest"])
def test_a_seed_picks_the_same_again(way: str) -> None:
    options = [4, 3, 2] * 200
    first, _ = picked(chooser(way, "7", {}), options)
    again, _ = picked(chooser(way, "7", {}), options)
    other, _ = picked(chooser(way, "8", {}), options)
    assert first == again
    assert (first == other) == (way == "longest")


def test_anyone_is_picked() -> None:
    picks, _ = picked(Anyone(random.Random(1)), [4] * 100)
    assert set(picks) == {0, 1, 2, 3}


def test_where_there_is_one_option_there_is_no_choice() -> None:
    picks, recorded = picked(Anyone(random.Random(1)), [1, 1, 1])
    assert (picks, recorded.made, recorded.tape) == ([0, 0, 0], 0, {})


class Numbers:
    """Dice whose throws are given."""

    def __init__(self, whole: list[int], parts: list[float]) -> None:
        self._whole = whole
        self._parts = parts

    def random(self) -> float:
        return self._parts.pop(0)

    def randrange(self, stop: int, /) -> int:
        return self._whole.pop(0)


def test_priorities_hold_until_a_change_and_the_highest_is_the_lowest_then() -> None:
    by = Priorities(Numbers([2, 4], [0.5, 0.9, 0.1]), depth=2)
    assert [by.choose(number, ("a", "b", "c")) for number in range(7)] == [1, 1, 0, 0, 2, 2, 2]


def test_nobody_is_passed_over_for_ever() -> None:
    by = Priorities(Numbers([], [0.9, 0.5]), depth=0)
    picks = [by.choose(number, ("busy", "other")) for number in range(60)]
    assert picks == [0] * PASSED_OVER + [1] * (60 - PASSED_OVER)


def test_who_comes_later_has_a_priority_of_his_own() -> None:
    by = Priorities(Numbers([], [0.5, 0.4, 0.9]), depth=0)
    assert by.choose(0, ("a", "b")) == 0
    assert by.choose(1, ("a", "b", "c")) == 2
    assert by.choose(2, ("b", "a")) == 1


@given(widths, st.integers(0, 99), st.sampled_from(["random", "pct"]))
def test_a_tape_plays_what_was_picked(options: list[int], seed: int, way: str) -> None:
    first, recorded = picked(chooser(way, str(seed), {}), options)
    again, played = picked(chooser("tape", "other", recorded.tape), options)
    assert again == first
    assert (played.tape, played.made) == (recorded.tape, recorded.made)
    assert 0 not in recorded.tape.values()


@given(st.dictionaries(st.integers(0, 70), st.integers(0, 9)), widths)
def test_a_tape_that_was_cut_is_one_still(tape: Mapping[int, int], options: list[int]) -> None:
    picks, recorded = picked(Tape(tape), options)
    assert all(0 <= pick < count for pick, count in zip(picks, options, strict=True))
    again, _ = picked(Tape(recorded.tape), options)
    assert again == picks


@given(widths, st.integers(1, 7))
def test_the_tape_comes_in_parts(options: list[int], count: int) -> None:
    _, recorded = picked(Anyone(random.Random(3)), options)
    whole: dict[int, int] = {}
    for start in range(0, recorded.made + 1, count):
        part = recorded.part(start, count)
        assert all(start <= number < start + count for number in part)
        whole |= part
    assert whole == recorded.tape
    assert recorded.part(recorded.made, 1 << 62) == {}


def test_a_way_that_nobody_knows() -> None:
    with pytest.raises(ValueError, match="'best'"):
        chooser("best", "7", {})
