"""The search for an order agrees with trying every order.

Seen red: with a read that is placed although it does not fit, with a memory of the placed
operations that leaves the value out, and with reads that stay placed when the search goes back.
"""

from __future__ import annotations

from itertools import permutations
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from hvsim.faults.checkers.linearizable import linearizable
from hvsim.faults.checkers.operations import Operation


def brute(own: list[Operation]) -> bool:
    """Whether any order of them would do; a write without end may be left out."""
    open_ones = [one for one in own if one.ended == inf]
    ended = [one for one in own if one.ended != inf]
    for mask in range(1 << len(open_ones)):
        chosen = ended + [one for bit, one in enumerate(open_ones) if mask >> bit & 1]
        if any(_fits(order) for order in permutations(chosen)):
            return True
    return False


def _fits(order: tuple[Operation, ...]) -> bool:
    value = 0
    for index, one in enumerate(order):
        if any(later.ended < one.begun for later in order[index + 1 :]):
            return False
        if one.writes:
            value = one.value
        elif one.value != value:
            return False
    return True


@st.composite
def an_operation(draw: st.DrawFn) -> Operation:
    writes = draw(st.booleans())
    begun = draw(st.integers(0, 8))
    length = draw(st.integers(0, 5))
    ended = inf if writes and draw(st.integers(0, 4)) == 0 else float(begun + length)
    value = draw(st.integers(1, 3) if writes else st.integers(0, 3))
    return Operation(0, writes, value, float(begun), ended)


@settings(max_examples=1000, deadline=None)
@given(st.lists(an_operation(), min_size=1, max_size=6))
def test_it_says_what_trying_every_order_says(own: list[Operation]) -> None:
    assert linearizable(own).held == brute(own)


def write(value: int, begun: float, ended: float, register: int = 0) -> Operation:
    return Operation(register, True, value, begun, ended)


def read(value: int, begun: float, ended: float, register: int = 0) -> Operation:
    return Operation(register, False, value, begun, ended)


def test_a_stale_read_has_no_place() -> None:
    verdict = linearizable([write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)])
    [problem] = verdict.problems
    assert problem.startswith("register 0: 1 was read between 4")
    assert problem.endswith("the write of 2 had ended before")


def test_a_value_that_goes_back_has_no_place() -> None:
    history = [write(1, 0, 9), read(1, 1, 2), read(0, 3, 4)]
    assert not linearizable(history).held


def test_a_write_that_nobody_was_told_of_may_have_happened_or_not() -> None:
    assert linearizable([write(1, 0, 1), write(2, 2, inf), read(1, 3, 4), read(2, 5, 6)]).held
    assert linearizable([write(1, 0, 1), write(2, 2, inf), read(1, 3, 4)]).held
    assert not linearizable([write(2, 2, inf), read(2, 3, 4), read(0, 5, 6)]).held


def test_registers_are_judged_each_by_itself() -> None:
    history = [write(1, 0, 1, 7), read(0, 2, 3, 8)]
    assert linearizable(history).held
    assert not linearizable([*history, read(0, 4, 5, 7)]).held


def test_nothing_told_proves_nothing() -> None:
    assert linearizable([]).problems == ("no operation was told of: nothing was proven",)


def test_a_long_history_is_judged_and_a_search_ends() -> None:
    own = []
    for n in range(1, 400):
        own += [write(n, n, n + 0.5), *(read(n - 1 + side, n + 0.1, n + 0.4) for side in (0, 1))]
    assert linearizable(own).held
    [problem] = linearizable(own, steps=100).problems
    assert "not judged" in problem
