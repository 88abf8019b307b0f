"""The search finds every planted bug from each first seed, and nothing where none is planted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.explore.campaign import CHOICES, explored, hunt, sentence
from tests.explore.hunting import BUGS, without_bug

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200), pytest.mark.usefixtures("here")]
CLEAN = 200
"""Runs of each scenario without its bug: 2,000 of the ten."""


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_found_and_made_small(name: str) -> None:
    row = hunt(name)
    print(sentence(row))
    assert row["found"] == row["replays"] == row["starts"]
    assert row["tape"] <= CHOICES


@pytest.mark.parametrize("name", BUGS)
def test_nothing_is_found_without_it(name: str, tmp_path: Path) -> None:
    row = explored(without_bug(name, tmp_path), 1, CLEAN)
    assert row["found"] is None
    assert row["runs"] == CLEAN
