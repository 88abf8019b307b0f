"""Which run is next: new seeds, and orders like those that have shown something new.  Pure.

Each second run (once there is one to take) is an earlier one that went where few went, with another
tape: cut and gone on otherwise, some of it left out, or with a few more changes.  The others take
the next seed, in the orders that were asked for in turn.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from hvsim.explore.job import Choices, Job, Outcome

ORDERS: Final = {"random": ("random",), "pct": ("pct",), "both": ("random", "pct")}
"""What may be asked for."""
SEEDS: Final = 1 << 31
KEPT: Final = 64
"""Runs that are remembered to be changed: those that went where fewest went."""
OPTIONS: Final = 4
"""A choice that is made up is less; who has fewer options takes the last."""


@dataclass(frozen=True)
class _Kept:
    job: Job
    made: int
    seen: frozenset[int]


class Search:
    """Of one scenario.

    Args:
        base: the run that all others are like.
        order: "random", "pct" or "both".

    Attributes:
        seen: how many runs went through each transition.
    """

    def __init__(self, base: Job, order: str) -> None:
        self._base: Final = base
        self._orders: Final[Sequence[str]] = ORDERS[order]
        self._dice: Final = random.Random(f"explore/{base.seed}")
        self._given = 0
        self._fresh = 0
        self._kept: list[_Kept] = []
        self.seen: Counter[int] = Counter()

    def next(self) -> Job:
        """The run that is to be made next."""
        self._given += 1
        if self._kept and self._given % 2 == 0:
            return self._changed()
        number, which = divmod(self._fresh, len(self._orders))
        self._fresh += 1
        seed = (self._base.seed + number) % SEEDS
        return replace(self._base, seed=seed, order=self._orders[which])

    def told(self, job: Job, outcome: Outcome) -> int:
        """What came of a run; how many transitions nobody had seen."""
        new = sum(one not in self.seen for one in outcome.seen)
        self.seen.update(outcome.seen)
        if new and outcome.made:
            tape = replace(job, order="tape", tape=outcome.tape)
            self._kept.append(_Kept(tape, outcome.made, outcome.seen))
            if len(self._kept) > KEPT:
                self._kept.remove(min(self._kept, key=self.rarity))
        return new

    def rarity(self, one: _Kept) -> float:
        """The more, the fewer runs went where it went."""
        return sum(1.0 / self.seen[seen] ** 2 for seen in one.seen)

    def _changed(self) -> Job:
        """One of them, rare ones rather."""
        weights = [self.rarity(one) + 1e-9 for one in self._kept]
        [one] = self._dice.choices(self._kept, weights)
        return replace(one.job, tape=changed(one.job.tape, one.made, self._dice))


def changed(tape: Choices, made: int, dice: random.Random) -> Choices:
    """Another tape like *tape*, which was one of *made* choices."""
    match dice.randrange(4):
        case 0:  # cut, and always the first from there on
            at = dice.randrange(made)
            return tuple(one for one in tape if one[0] < at)
        case 1:  # cut, and anyone from there on
            at = dice.randrange(made)
            rest = ((number, dice.randrange(OPTIONS)) for number in range(at, made))
            return (
                *(one for one in tape if one[0] < at),
                *((number, choice) for number, choice in rest if choice),
            )
        case 2:  # some of it left out
            share = dice.random()
            return tuple(one for one in tape if dice.random() >= share)
        case _:  # a few other points of change
            some = {
                dice.randrange(made): dice.randrange(OPTIONS) for _ in range(dice.randint(1, 8))
            }
            return tuple(
                sorted(
                    (number, choice) for number, choice in {**dict(tape), **some}.items() if choice
                )
            )
