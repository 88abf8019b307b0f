"""Whose turn it is: one at a time, in the order that was chosen, and who cannot go on is no option.

Seen red: with options in the order of the tokens; with late answers sent at once, and sent behind
the word; with halted ones among the options; with a seat that is left when its process has ended;
with rings that do not merge.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hvsim.hypervisor.lockstep.choices import Recorded
from hvsim.hypervisor.lockstep.turns import NEVER, Turns


class Asked:
    """Picks what it is told, and remembers what there was."""

    def __init__(self) -> None:
        self.picks: list[int] = []
        self.options: list[str] = []

    def choose(self, _number: int, options: Sequence[str]) -> int:
        self.options = list(options)
        return self.picks.pop(0) if self.picks else 0


class Table:
    """Processes 1 and so on, of which all have been made and wait in their vCPUs."""

    def __init__(self, count: int = 0) -> None:
        self.asked = Asked()
        self.done: list[str] = []
        self.begun: list[int] = []
        self.halted: set[int] = set()
        self.turns = Turns(Recorded(self.asked), self.begun.append)
        for token in range(1, count + 1):
            self.birth(token)
            assert self.go()
            self.park(token)
        self.done.clear()
        self.begun.clear()

    def birth(self, token: int) -> None:
        self.turns.birth(
            token, f"p{token}", lambda: token in self.halted, lambda: self.did(f"made {token}")
        )

    def did(self, what: str) -> None:
        self.done.append(what)

    def park(self, token: int, until: int = NEVER) -> None:
        self.turns.parks(token, until, lambda: self.did(f"go {token}"))

    def turn(self) -> int | None:
        """Who has the turn."""
        return self.turns.turn

    def options(self, now: int = 0, ready: Sequence[int] = ()) -> list[str]:
        """What may happen next."""
        self.asked.options = []
        one = self.turns.next(now, ready)
        return self.asked.options or ([one.name] if one is not None else [])

    def go(self, now: int = 0, ready: Sequence[int] = (), pick: int = 0) -> bool:
        """Let it; whether there was something."""
        self.asked.picks = [pick]
        option = self.turns.next(now, ready)
        if option is not None:
            self.turns.take(option)
        return option is not None


def test_a_process_has_the_turn_from_its_birth() -> None:
    table = Table()
    table.birth(1)
    table.birth(2)
    assert table.options() == ["birth of p1", "birth of p2"]
    assert table.go(pick=1)
    assert (table.turn(), table.done, table.begun) == (2, ["made 2"], [2])
    assert table.turns.takes(2)
    assert not table.turns.takes(1)


def test_who_has_waited_longest_is_the_first_option() -> None:
    table = Table(3)
    assert table.options(ready=[3, 1, 2]) == ["p1", "p2", "p3"]
    assert table.go(ready=[1])
    table.park(1)
    assert table.options(ready=[1, 2, 3]) == ["p2", "p3", "p1"]


def test_the_word_is_sent_to_the_one_that_is_picked_and_to_nobody_else() -> None:
    table = Table(3)
    assert table.go(ready=[1, 2, 3], pick=2)
    assert (table.turn(), table.done, table.begun) == (3, ["go 3"], [3])


def test_who_waits_for_nothing_that_has_come_is_no_option() -> None:
    table = Table(2)
    assert table.options() == []
    assert table.options(ready=[2]) == ["p2"]


def test_a_deadline_is_one() -> None:
    table = Table(2)
    assert table.turns.deadline() is None
    assert table.go(ready=[1])
    table.park(1, until=50)
    assert table.turns.deadline() == 50
    assert table.options(now=49) == []
    assert table.options(now=50) == ["p1"]
    table.halted.add(1)
    assert table.turns.deadline() is None, "who is stopped is not waited for"


def test_who_is_stopped_gets_no_turn() -> None:
    table = Table(2)
    table.halted.add(1)
    assert table.options(ready=[1, 2]) == ["p2"]
    table.halted.clear()
    assert table.options(ready=[1, 2]) == ["p1", "p2"]


def test_an_open_call_is_waited_for() -> None:
    table = Table(1)
    assert table.go(ready=[1])
    table.turns.calls(1)
    assert table.turn() is None
    assert table.options(ready=[1]) == [], "it waits for its answer, not in its vCPU"
    assert table.turns.answer(1, lambda: table.did("answer"), False)
    table.done.clear()
    assert table.go()
    assert table.turn() == 1
    assert table.done == ["answer"]


def test_who_has_parked_does_not_wait_for_a_call() -> None:
    table = Table(1)
    table.turns.calls(1)
    assert table.options() == []
    assert table.options(ready=[1]) == ["p1"]


def test_late_answers_are_held_and_come_before_the_word() -> None:
    table = Table(1)
    for name in ("late 1", "late 2"):
        assert table.turns.answer(1, lambda name=name: table.did(name), True)  # type: ignore[misc]
    assert table.done == [], "it would hear of them while another has the turn"
    assert table.options() == ["p1"], "there is something to hear"
    assert table.go()
    assert table.done == ["late 1", "late 2", "go 1"]
    table.park(1)
    assert table.options() == []


def test_who_takes_no_turns_is_answered_at_once() -> None:
    assert not Table(1).turns.answer(7, lambda: None, False)


def test_who_is_gone_has_no_turn_any_more() -> None:
    table = Table(2)
    assert table.go(ready=[1])
    table.turns.gone(1)
    assert table.turn() is None
    assert table.options(ready=[1, 2]) == ["p2"]
    table.turns.gone(2)
    assert table.options(ready=[1, 2]) == []
    table.turns.gone(2)


def test_bells_are_on_their_way_and_merge_until_they_are_heard() -> None:
    table = Table(1)
    for _ in range(2):
        table.turns.bell("bell", lambda: table.did("rung"))
    table.turns.bell("other", lambda: table.did("other rung"))
    assert table.options(ready=[1]) == ["bell", "other", "p1"]
    assert table.go(ready=[1], pick=1)
    assert table.turn() is None, "a bell takes no turn"
    assert table.go()
    assert table.done == ["other rung", "rung"]
    table.turns.bell("bell", lambda: table.did("rung again"))
    assert table.go()
    assert table.done[-1] == "rung again"


def test_all_who_wait_are_told() -> None:
    table = Table(2)
    assert table.turns.parked() == [1, 2]
    assert table.go(ready=[2])
    assert table.turns.parked() == [1]


@pytest.mark.parametrize("now", [0, 10**18])
def test_nothing_happens_by_itself_where_nobody_is(now: int) -> None:
    assert not Table().go(now)
