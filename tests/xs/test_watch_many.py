"""Several watches are set, and ended, in one go."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from hvsim.abi.xs_wire import XS_ERROR
from hvsim.xs.client import StoreClient
from hvsim.xs.errors import StoreError
from hvsim.xs.requests import Request


class Recorded:
    """A store that keeps what came together, and refuses watches below /refused."""

    on_event: Callable[[bytes], None]
    on_dispatch: Callable[[], bool]

    def __init__(self) -> None:
        self.batches: list[list[tuple[str, str]]] = []

    def exchange(self, batch: Sequence[Request[object]]) -> list[tuple[int, bytes]]:
        self.batches.append([(request.name, request.path) for request in batch])
        return [
            (XS_ERROR, b"EACCES\0") if request.path == "/refused" else (request.op, b"OK\0")
            for request in batch
        ]

    def close(self) -> None:
        pass


def test_they_are_set_and_ended_together() -> None:
    """Red with one exchange for each."""
    store, told = Recorded(), list[str]()
    client = StoreClient(store)
    watches = client.watch_many(["/a", "/b"], told.append)
    for watch in reversed(watches):
        store.on_event(f"{watch.path}\0{watch.token}\0".encode())
    client.dispatch_events()
    assert told == ["/b", "/a"]
    client.unwatch_many([*watches, *watches])
    assert store.batches == [
        [("WATCH", "/a"), ("WATCH", "/b")],
        [("UNWATCH", "/a"), ("UNWATCH", "/b")],
    ]


def test_one_that_is_refused_leaves_none() -> None:
    """Red when those that stand are not ended: they would count against the quota, and nobody
    would hear them."""
    store, told = Recorded(), list[str]()
    client = StoreClient(store)
    with pytest.raises(StoreError, match="EACCES"):
        client.watch_many(["/a", "/refused", "/b"], told.append)
    assert store.batches[1:] == [[("UNWATCH", "/a"), ("UNWATCH", "/b")]]
    store.on_event(b"/a\x001\0")
    client.dispatch_events()
    assert told == []
