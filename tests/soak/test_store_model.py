"""A quarter of a million operations, and hypothesis' own search, against the plain model."""

from __future__ import annotations

import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.xenstore.test_model import StoreMachine, effort, wander

OPERATIONS = 250_000
STEPS = 1_000


@pytest.mark.soak
def test_a_quarter_of_a_million_operations() -> None:
    for seed in range(OPERATIONS // STEPS):
        wander(1_000 + seed, STEPS)


@pytest.mark.soak
def test_short_and_strange_sequences() -> None:
    run_state_machine_as_test(StoreMachine, settings=effort(1_000, 50, seeded=False))
