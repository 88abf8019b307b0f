"""A device that is given to another backend while its halves go on writing."""

from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from hvsim.abi import errno
from hvsim.toolstack.devices.move import move
from hvsim.toolstack.host.device import Device
from hvsim.xs.errors import StoreError, StoreNotFound
from hvsim.xs.requests import Request
from hvsim.xs.transaction import attempts, too_many

HALF = SimpleNamespace(backend_nodes=lambda device: [("mode", "w")], spoken=lambda: [])


class Busy:
    """A store in which `leaving` of the frontend is listed, and gone when it is asked for."""

    def __init__(self, leaving: str, times: int) -> None:
        self.leaving, self.times = leaving, times
        self.committed: list[Request[object]] = []

    async def transaction(self, fn: Callable[[int], Awaitable[None]], what: str) -> None:
        for attempt in attempts():
            with attempt.running(self.committed.clear):
                await fn(attempt.number + 1)
                attempt.commits()
                return
        raise too_many(what)

    async def children(self, path: str, tx: int) -> list[str]:
        return ["state", self.leaving] if self.times else ["state"]

    async def apply(self, batch: Sequence[Request[object]]) -> None:
        if self.times:
            self.times -= 1
            raise StoreNotFound(errno.ENOENT, "SET_PERMS", self.leaving)
        self.committed += batch


def moved(store: Busy) -> Any:
    attached: Any = SimpleNamespace(device=Device(2, "vif", 0, 4), half=HALF)
    owner: Any = SimpleNamespace(name="web")
    stand_in: Any = store
    anyio.run(move, stand_in, owner, attached, 5)
    return attached.device


def test_a_node_that_goes_meanwhile_is_a_conflict() -> None:
    """Seen red as ENOENT, which left a driver domain's frontends with the dead one for good: the
    answer to `xl network-list` is such a node."""
    store = Busy("statistics", times=3)
    assert moved(store).backend_domid == 5
    assert store.committed


def test_conflicts_without_an_end_are_told() -> None:
    with pytest.raises(StoreError, match=r"moving .* of web"):
        moved(Busy("statistics", times=1000))
