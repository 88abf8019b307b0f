"""Which run is next: every seed in every order, and rather like those that went where few went.

Seen red: with `rarity` that is the number of transitions; with dice that are the machine's.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvsim.explore.coverage import transitions
from hvsim.explore.job import Job, Outcome
from hvsim.explore.search import KEPT, Search, changed
from hvsim.explore.strategies import tapes

BASE = Job("it.toml", "", 7, "random")
TAPE = ((3, 1), (17, 2), (40, 1))


def test_new_seeds_in_the_orders_that_were_asked_for() -> None:
    both, pct = Search(BASE, "both"), Search(BASE, "pct")
    assert [(one.seed, one.order) for one in (both.next() for _ in range(4))] == [
        *((7, "random"), (7, "pct")),
        *((8, "random"), (8, "pct")),
    ]
    assert [(one.seed, one.order) for one in (pct.next() for _ in range(2))] == [
        *((7, "pct"), (8, "pct")),
    ]


def told(search: Search, seed: int, *seen: int) -> int:
    job = Job("it.toml", "", seed, "random")
    return search.told(job, Outcome((), 50, TAPE, frozenset(seen)))


def test_rare_orders_are_preferred() -> None:
    search = Search(BASE, "random")
    assert told(search, 1, 1, 2, 3, 4, 5, 6) == 6
    assert told(search, 2, 1, 2, 9) == 1
    for seed in range(100, 150):
        assert told(search, seed, 1, 2, 3, 4, 5, 6) == 0, "nothing new: not remembered"
    jobs = [search.next() for _ in range(200)]
    mutated = Counter(job.seed for job in jobs if job.order == "tape")
    assert sum(mutated.values()) == 100, "every other run"
    assert mutated[2] > 95, mutated
    assert len({job.tape for job in jobs if job.order == "tape"}) > 20, "each with another tape"


def test_the_same_search_is_the_same() -> None:
    one, other = Search(BASE, "both"), Search(BASE, "both")
    for search in (one, other):
        told(search, 1, 1, 2)
    assert [one.next() for _ in range(50)] == [other.next() for _ in range(50)]


def test_so_many_are_remembered_and_the_rare_stay() -> None:
    search = Search(BASE, "random")
    for seed in range(KEPT + 20):
        told(search, seed, -1, seed)
    jobs = [search.next() for _ in range(4000)]
    assert len({job.seed for job in jobs if job.order == "tape"}) == KEPT


@given(tapes(), st.integers(0, 1 << 30))
def test_what_is_changed_is_a_tape(tape: tuple[tuple[int, int], ...], seed: int) -> None:
    made = max((number for number, _ in tape), default=0) + 1
    found = changed(tape, made, random.Random(seed))
    assert list(found) == sorted(dict(found).items())
    assert all(0 <= number < made and choice > 0 for number, choice in found)


def test_other_orders_are_other_transitions() -> None:
    a, b = {"kind": "a", "domid": 1, "seq": 1}, {"kind": "b", "domid": 2, "seq": 2}
    assert transitions([a, b]) != transitions([b, a])
    assert transitions([a, b]) == transitions([{**a, "mono": 5, "text": "x"}, b])
    assert transitions([a, b]) < transitions([a, b, a])


@pytest.mark.parametrize("order", ["random", "pct"])
def test_a_run_that_made_no_choice_is_not_remembered(order: str) -> None:
    search = Search(BASE, order)
    search.told(BASE, Outcome((), 0, (), frozenset({1})))
    assert {search.next().order for _ in range(6)} == {order}
