"""What whoever breaks a lab will do, and when: drawn from the seed before anything runs.

A plan is plain: one that failed can be kept, cut and played again.  Pure.
"""

from __future__ import annotations

import random
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

from hvsim.faults.scenario.model import Act, Phase

_SEEDS: Final = 1 << 31


@dataclass(frozen=True)
class Planned:
    """An act with its moment, in seconds after the begin of phase number *phase*."""

    phase: int
    at: float
    act: Act


def plan(phases: Sequence[Phase], seed: int, without: Container[int] = ()) -> list[Planned]:
    """Every act, in order of its phase and its moment; a rule that names no seed gets one.

    Args:
        without: numbers of acts, from 0 through all phases, that are left out.  What is drawn for
            the others stays as it was.
    """
    dice = random.Random(seed)
    made = []
    counted = count()
    for number, phase in enumerate(phases):
        for act in phase.acts:
            least, most = act.at
            at = least + (most - least) * dice.random()
            own = dice.randrange(_SEEDS)
            rule = act.rule
            if rule is not None and rule.seed is None:
                rule = replace(rule, seed=own)
            if next(counted) not in without:
                made.append(Planned(number, at, replace(act, rule=rule)))
    return sorted(made, key=lambda one: (one.phase, one.at))
