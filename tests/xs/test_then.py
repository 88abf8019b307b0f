"""Requests that go with a commit: nobody is served between the two."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from hvsim.abi.xs_wire import XS_ERROR, XS_TRANSACTION_START
from hvsim.xs import requests
from hvsim.xs.client import StoreClient
from hvsim.xs.errors import StoreError
from hvsim.xs.requests import Request

Reply = tuple[int, bytes]


class Recorded:
    """A store that keeps what came together; each of *refuses* fails once with its error."""

    on_event: Callable[[bytes], None]
    on_dispatch: Callable[[], bool]

    def __init__(self, **refuses: str) -> None:
        self.refuses = refuses
        self.batches: list[list[str]] = []

    def exchange(self, batch: Sequence[Request[object]]) -> list[Reply]:
        self.batches.append([request.name for request in batch])
        return [self._answer(request) for request in batch]

    def _answer(self, request: Request[object]) -> Reply:
        error = self.refuses.pop(request.name, "")
        if error:
            return XS_ERROR, error.encode() + b"\0"
        return request.op, b"7\0" if request.op == XS_TRANSACTION_START else b"OK\0"

    def close(self) -> None:
        pass


def state(store: Recorded) -> list[list[str]]:
    """Write a state, and take a node away with it."""
    client = StoreClient(store)
    client.transaction(lambda tx: tx.write("/s", "6"), "the end", [requests.rm("/h")])
    return store.batches


COMMIT = ["TRANSACTION_END", "RM"]


def test_they_come_together() -> None:
    """Red when the commit's answer is awaited first: then a toolstack that waits for the state
    removes the directory before the half has tidied it up."""
    assert state(Recorded()) == [["TRANSACTION_START"], ["WRITE"], COMMIT]


def test_a_conflict_begins_all_of_it_anew() -> None:
    found = state(Recorded(TRANSACTION_END="EAGAIN"))
    assert found == [["TRANSACTION_START"], ["WRITE"], COMMIT] * 2


def test_what_is_refused_behind_a_commit_is_no_error() -> None:
    """Somebody has taken the node away already."""
    assert state(Recorded(RM="ENOENT"))[-1] == COMMIT


def test_a_commit_that_is_refused_is() -> None:
    with pytest.raises(StoreError, match=r"TRANSACTION_END .*ENOSPC"):
        state(Recorded(TRANSACTION_END="ENOSPC"))
