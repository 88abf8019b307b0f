"""The loop of a transaction, and lists in parts: what every client shares."""

from __future__ import annotations

import pytest

from hvsim.abi.errno import EAGAIN, EIO, ENOENT
from hvsim.xs.errors import StoreDisconnected, StoreError
from hvsim.xs.listing import Listing
from hvsim.xs.transaction import MAX_ATTEMPTS, attempts, too_many


def run(inside: list[Exception | None], commit: list[Exception | None], did: list[str]) -> str:
    """A transaction whose body and whose commit raise one after the other."""
    for attempt in attempts():
        did.append("start")
        with attempt.running(lambda: did.append("abort")):
            if (failure := inside.pop(0)) is not None:
                raise failure
            attempt.commits()
            if (failure := commit.pop(0)) is not None:
                raise failure
            return "done"
    raise too_many("the test")


def conflict() -> StoreError:
    return StoreError(EAGAIN, "READ", "/a")


def test_a_conflict_at_the_commit_begins_anew_and_aborts_nothing() -> None:
    """Red when ``commits`` leaves the abort in place: the store has ended it already."""
    did: list[str] = []
    assert run([None, None], [conflict(), None], did) == "done"
    assert did == ["start", "start"]


def test_a_conflict_inside_is_aborted_and_begins_anew() -> None:
    """Red when ``__exit__`` lets EAGAIN pass."""
    did: list[str] = []
    assert run([conflict(), None], [None], did) == "done"
    assert did == ["start", "abort", "start"]


@pytest.mark.parametrize("failure", [StoreError(ENOENT, "READ", "/a"), ValueError("mine")])
def test_anything_else_is_aborted_and_passes_through(failure: Exception) -> None:
    did: list[str] = []
    with pytest.raises(type(failure)) as raised:
        run([failure], [], did)
    assert raised.value is failure
    assert did == ["start", "abort"]


def test_a_store_that_has_gone_is_not_asked_to_abort() -> None:
    did: list[str] = []
    with pytest.raises(StoreDisconnected):
        run([StoreDisconnected(EIO, "READ", "/a")], [], did)
    assert did == ["start"]


def test_conflicts_without_end_are_named() -> None:
    times = MAX_ATTEMPTS
    with pytest.raises(StoreError, match="TRANSACTION the test: EAGAIN"):
        run([None] * times, [conflict() for _ in range(times)], [])


def test_a_list_that_changes_is_fetched_anew() -> None:
    """Red when the generation is not compared: "a" would be listed without its successor."""
    listing = Listing("/d", 0)
    assert listing.take(("1", b"a\0b\0", False)) is None
    assert listing.request.payload == b"/d\0" + b"4\0"
    assert listing.take(("2", b"c\0", True)) is None
    assert listing.request.payload == b"/d\0" + b"0\0"
    assert listing.take(("2", b"a\0", False)) is None
    assert listing.take(("2", b"c\0", True)) == ["a", "c"]


def test_a_list_that_always_changes_is_given_up() -> None:
    listing = Listing("/d", 0)
    parts = ((str(number), b"a\0", False) for number in range(4 * MAX_ATTEMPTS))
    with pytest.raises(StoreError, match="DIRECTORY_PART /d: EAGAIN"):
        list(map(listing.take, parts))


def test_a_part_that_leads_nowhere_is_an_error() -> None:
    with pytest.raises(StoreError, match="EIO"):
        Listing("/d", 0).take(("1", b"", False))
