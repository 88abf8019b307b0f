"""Checkers of disks' sizes, of closings and of secrets, each with what it must find.

Seen red, each with its checker returning no problem.
"""

from __future__ import annotations

from typing import Any

from hvsim.faults.checkers.closings import closings
from hvsim.faults.checkers.secrets import secret, secrets
from hvsim.faults.checkers.sizes import sizes


def test_a_disk_has_the_size_that_it_was_made_with() -> None:
    assert sizes({"a": 512}, {"a": 512, "b": 7}).held
    for after in ({"a": 1024}, {"a": 0}, {}):
        assert not sizes({"a": 512}, after).held


def test_who_closes_says_so_before() -> None:
    def steps(*moves: tuple[str, int, int]) -> list[dict[str, Any]]:
        return [{"half": half, "kind": "state", "old": old, "new": new} for half, old, new in moves]

    up = steps(("frontend", 1, 3), ("backend", 2, 4), ("frontend", 3, 4))
    orderly = steps(("frontend", 4, 5), ("backend", 4, 5), ("frontend", 5, 6), ("backend", 5, 6))
    asked = steps(("backend", 4, 5), ("frontend", 4, 6), ("backend", 5, 6))
    assert closings({"2/vbd/1": up + orderly, "3/vbd/1": up + asked}).held
    gone = [*up, {"half": "backend", "kind": "removed"}, *steps(("frontend", 4, 6))]
    assert closings({"2/vbd/1": gone}).held, "nobody is there who could be told"
    [problem] = closings({"2/vbd/1": up + steps(("frontend", 4, 6), ("backend", 4, 6))}).problems
    assert problem == "2/vbd/1: the frontend was closed, and nobody had said Closing"
    assert not closings({"2/vbd/1": up + steps(("backend", 4, 6))}).held


def test_a_secret_is_kept_or_told() -> None:
    assert secret("secret /a/b kept") == ("/a/b", False)
    assert secret("[1.0] secret /a/b told") == ("/a/b", True)
    assert secret("no secret at all") is None
    assert secrets([("/a", False)]).held
    assert not secrets([("/a", False), ("/a", True)]).held
    assert not secrets([]).held, "nothing was proven"
