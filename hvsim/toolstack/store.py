"""The toolstack's side of the store: one connection for each operation, as xl makes them.

A connection is named for the store's trace (XL, SCRIPT).  Requests that do not depend on each
other's answers travel together.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import anyio

from hvsim.abi import errno
from hvsim.domain.xenbus import requests
from hvsim.domain.xenbus.requests import Request, StoreDisconnected, StoreError
from hvsim.xenstore.aio import AsyncStore, connect
from hvsim.xenstore.aio_wire import AsyncWatch

T = TypeVar("T")

PATIENCE: Final = 10.0
"""Seconds that an operation waits for a store that has died and is started again."""
MAX_ATTEMPTS: Final = 64
"""How often a transaction is begun anew after a conflict."""
PAUSE: Final = 0.001
LONGEST_PAUSE: Final = 0.05
"""Seconds between two attempts: by how much it grows, and to what."""


class Store:
    """The verbs that the toolstack uses, over one connection."""

    def __init__(self, client: AsyncStore, lock: anyio.Lock) -> None:
        self._client = client
        self._lock = lock

    async def batch(self, batch: Sequence[Request]) -> list[Any]:
        """Make many requests at once; a refused one has its StoreError in the list."""
        return await self._client.pipeline(batch)

    async def call(self, request: Request) -> Any:
        """Make one request.  Raises StoreError."""
        return await self._client.call(request)

    async def read(self, path: str, tx: int = 0) -> str | None:
        """A node's value, None without such a node."""
        return (await self.read_many([path], tx))[0]

    async def read_many(self, paths: Iterable[str], tx: int = 0) -> list[str | None]:
        """Values of several nodes, None for each that is missing."""
        return await self._client.read_many(paths, tx)

    async def children(self, path: str, tx: int = 0) -> list[str]:
        """Names below a node; none for a node that does not exist."""
        try:
            return await self._client.directory(path, tx)
        except StoreError as error:
            if error.errno == errno.EAGAIN or isinstance(error, StoreDisconnected):
                raise  # the store has died, under the transaction or for good
            return []

    async def write(self, path: str, value: str) -> None:
        """Set one node.  Raises StoreError."""
        await self.call(requests.write(path, value))

    async def transaction(self, fn: Callable[[int], Awaitable[T]], what: str) -> T:
        """Run *fn* with a transaction's number and commit; again when it was in conflict.

        Raises: StoreError; with EAGAIN when it was in conflict MAX_ATTEMPTS times.
        """
        # One at a time within this process (xl holds a lock as well): two that make children of
        # the same parent would only throw each other out.
        async with self._lock:
            for attempt in range(MAX_ATTEMPTS):
                if attempt > 2:  # somebody is busy in the same place
                    await anyio.sleep(min(LONGEST_PAUSE, (attempt - 2) * PAUSE))
                tx = int(await self.call(requests.transaction_start()))
                try:
                    result = await fn(tx)
                except BaseException as error:
                    with anyio.CancelScope(shield=True):
                        await self.batch([requests.transaction_end(tx, False)])
                    if isinstance(error, StoreError) and error.errno == errno.EAGAIN:
                        continue  # the store has died under it
                    raise
                if await self._end(tx):
                    return result
        raise StoreError(errno.EAGAIN, "TRANSACTION_END", what)

    async def commit(self, batch: Sequence[Request], what: str) -> None:
        """Make requests in one transaction, all in one go.

        A RM of what is not there is in order; any other refusal is raised.
        """

        async def make(tx: int) -> None:
            await self.apply([request._replace(tx=tx) for request in batch])

        await self.transaction(make, what)

    async def apply(self, batch: Sequence[Request]) -> None:
        """Make requests in one go; a RM of what is not there is in order.  Raises StoreError."""
        for request, result in zip(batch, await self.batch(batch), strict=True):
            if isinstance(result, StoreError) and not (
                request.name == "RM" and result.errno == errno.ENOENT
            ):
                raise result

    async def _end(self, tx: int) -> bool:
        (result,) = await self.batch([requests.transaction_end(tx, True)])
        if isinstance(result, StoreError):
            if result.errno == errno.EAGAIN:
                return False
            raise result
        return True

    @asynccontextmanager
    async def watching(self, path: str) -> AsyncIterator["Watching"]:
        """Watch *path* within the block."""
        watch = await self._client.watch(path)
        try:
            yield Watching(watch)
        finally:
            with anyio.CancelScope(shield=True):
                await self._client.unwatch(watch)

    async def wait_for(
        self, path: str, wanted: Callable[[str | None], bool], timeout: float
    ) -> str | None:
        """Watch a node until its value is *wanted*; returns that value.

        Raises: TimeoutError after *timeout* seconds.
        """
        async with self.watching(path) as watch:
            with anyio.fail_after(timeout):
                while True:
                    await watch.next()
                    value = await self.read(path)
                    if wanted(value):
                        return value


class Watching:
    """Events of one watch; the first one comes at once, for the registration itself."""

    def __init__(self, watch: AsyncWatch) -> None:
        self._watch = watch

    async def next(self) -> str:
        """The path of the next event."""
        return await self._watch.next()


@asynccontextmanager
async def open_store(
    path: str, label: str, lab: str, lock: anyio.Lock, patience: float = PATIENCE
) -> AsyncIterator[Store]:
    """A connection to the store's socket, named *label* in its trace.

    Transactions of connections with the same *lock* do not overlap.  *patience*: seconds to wait
    for a store that has died.

    Raises: OSError when the store is not there.
    """
    client = await connect(path, label, lab, patience=patience)
    try:
        yield Store(client, lock)
    finally:
        await client.aclose()


async def remove_with_empty_parents(store: Store, tx: int, path: str) -> None:
    """Remove *path*, and then each parent that is left with no value and no child.

    What libxl__xs_path_cleanup does; so no empty directory is left behind a last device.
    """
    await store.batch([requests.rm(path, tx)])
    parent = path.rpartition("/")[0]
    while parent.count("/") > 1:
        if await store.read(parent, tx) != "" or await store.children(parent, tx):
            return
        await store.batch([requests.rm(parent, tx)])
        parent = parent.rpartition("/")[0]
