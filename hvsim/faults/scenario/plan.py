"""What whoever breaks a lab will do, and when: drawn from the seed before anything runs.

A plan is plain: one that failed can be kept, cut and played again.  Pure.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from hvsim.faults.scenario.model import Act, Phase

_SEEDS: Final = 1 << 31


@dataclass(frozen=True)
class Planned:
    """An act with its moment, in seconds after the begin of phase number *phase*."""

    phase: int
    at: float
    act: Act


def plan(phases: Sequence[Phase], seed: int) -> list[Planned]:
    """Every act, in order of its phase and its moment; a rule that names no seed gets one."""
    dice = random.Random(seed)
    made = []
    for number, phase in enumerate(phases):
        for act in phase.acts:
            least, most = act.at
            at = least + (most - least) * dice.random()
            own = dice.randrange(_SEEDS)
            rule = act.rule
            if rule is not None and rule.seed is None:
                rule = replace(rule, seed=own)
            made.append(Planned(number, at, replace(act, rule=rule)))
    return sorted(made, key=lambda one: (one.phase, one.at))
