"""Each planted bug is found with a seed that is known to find it, by a check that any scenario has,
and the same run without the bug holds.

Seen red: without the table of the bug, each of the first; with it in both files, the second.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.explore.hunting import BUGS, broken, one_run, with_bug, without_bug

pytestmark = pytest.mark.usefixtures("here")
FOUND = {
    "early_flush": (1, "guest: registers are linearizable"),
    "double_fetch": (1, "every disk has its size: disk.img had 65536 bytes"),
    "forgotten_eagain": (1, "healed: guest goes on: 0 of 20 told"),
    "kept_right": (1, "stranger: it learns nothing that it may not know"),
    "leaked_grant": (1, "no grant leaks: domain 2 is dead, and somebody still holds its pages"),
    "lost_requests": (1, "healed: guest goes on"),
    "lost_watch": (1, "healed: guest goes on"),
    "lost_wakeup": (2, "work: guest goes on"),
    "no_index_bound": (1, "beyond: guest goes on: 1 of 5 told"),
    "skipped_closing": (1, "the frontend was closed, and nobody had said Closing"),
}
"""Bug -> (a seed that finds it, how it is told)."""


def test_each_bug_has_a_seed() -> None:
    assert set(FOUND) == set(BUGS)


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_found(name: str) -> None:
    seed, told = FOUND[name]
    problems = broken(one_run(with_bug(name), seed))
    assert any(told in problem for problem in problems), problems


@pytest.mark.parametrize("name", BUGS)
def test_nothing_is_found_without_it(name: str, tmp_path: Path) -> None:
    seed, _ = FOUND[name]
    assert broken(one_run(without_bug(name, tmp_path), seed)) == []
