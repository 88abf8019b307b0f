"""The toolstack's side of the store: one connection for each operation, as xl makes them.

A connection is named for the store's trace (XL, SCRIPT).  Requests that do not depend on each
other's answers travel together.  Every wait has a name (``waiting``): for the store itself, or for
whoever is to write what one waits for.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Final, Protocol, TypeVar

import anyio

from hvsim.abi import errno
from hvsim.toolstack.host.waiting import NOBODY, STORE, Party, Several, waiting
from hvsim.xs import requests
from hvsim.xs.aio import AsyncStore, connect
from hvsim.xs.aio_watch import AsyncWatch
from hvsim.xs.errors import StoreDisconnected, StoreError
from hvsim.xs.requests import Request
from hvsim.xs.transaction import attempts, too_many

T = TypeVar("T")

ANSWER_TIMEOUT: Final = 20.0
"""Seconds that the store has for one answer."""
PATIENCE: Final = 10.0
"""Seconds that an operation waits for a store that has died and is started again."""
PAUSE: Final = 0.001
LONGEST_PAUSE: Final = 0.05
"""Seconds between two attempts: by how much it grows, and to what."""


class StoreSilent(OSError):
    """The store did not answer, or nobody could have been told; the text says why.

    No TimeoutError: whoever waits for a backend must not take it for the backend's silence.
    """


class Reader(Protocol):
    """What a listing needs of the store."""

    async def read(self, path: str, tx: int = 0) -> str | None:
        """A node's value, None without such a node."""

    async def read_many(self, paths: Iterable[str], tx: int = 0) -> list[str | None]:
        """Values of several nodes, None for each that is missing."""

    async def children(self, path: str, tx: int = 0) -> list[str]:
        """Names below a node; none for a node that does not exist."""


class Store:
    """The verbs that the toolstack uses, over one connection.

    Every one of them raises StoreSilent when the store does not answer.

    Args:
        lock: held during a transaction.
        explain: what is wrong with the store, in a sentence; "" when it runs.
    """

    def __init__(
        self, client: AsyncStore, lock: anyio.Lock, explain: Callable[[], str] = lambda: ""
    ) -> None:
        self._client = client
        self._lock = lock
        self._explain = explain

    @contextmanager
    def _answer(self, name: str, path: str) -> Iterator[None]:
        """Within the block the store's answer is awaited."""
        what = f"the store's answer to {name} {path}"
        with waiting(what, STORE, ANSWER_TIMEOUT):
            try:
                yield
            except TimeoutError:
                raise self._silent(what, ANSWER_TIMEOUT) from None

    def _silent(self, what: str, seconds: float) -> StoreSilent:
        why = self._explain() or "xenstored runs, and does not answer"
        return StoreSilent(errno.EAGAIN, f"waited {seconds:g} s for {what}: {why}")

    async def batch(self, batch: Sequence[Request[T]]) -> list[T | StoreError]:
        """Make many requests at once; a refused one has its StoreError in the list."""
        if not batch:
            return []
        with self._answer(batch[0].name, batch[0].path):
            return await self._client.pipeline(batch)

    async def call(self, request: Request[T]) -> T:
        """Make one request.  Raises StoreError."""
        with self._answer(request.name, request.path):
            return await self._client.call(request)

    async def read(self, path: str, tx: int = 0) -> str | None:
        """A node's value, None without such a node."""
        return (await self.read_many([path], tx))[0]

    async def read_many(self, paths: Iterable[str], tx: int = 0) -> list[str | None]:
        """Values of several nodes, None for each that is missing."""
        asked = list(paths)
        with self._answer("READ", asked[0] if asked else "of nothing"):
            return await self._client.read_many(asked, tx)

    async def children(self, path: str, tx: int = 0) -> list[str]:
        """Names below a node; none for a node that does not exist."""
        try:
            with self._answer("DIRECTORY", path):
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

        Raises: StoreError; with EAGAIN when it was in conflict too often.
        """
        # One at a time within this process (xl holds a lock as well): two that make children of
        # the same parent would only throw each other out.
        async with self._mine(what):
            for attempt in attempts():
                if attempt.number > 2:  # somebody is busy in the same place
                    await anyio.sleep(min(LONGEST_PAUSE, (attempt.number - 2) * PAUSE))
                tx = int(await self.call(requests.transaction_start()))
                with attempt.running(partial(self._client.abort, tx)):
                    result = await fn(tx)
                    attempt.commits()
                    await self.call(requests.transaction_end(tx, True))
                    return result
        raise too_many(what)

    @asynccontextmanager
    async def _mine(self, what: str) -> AsyncIterator[None]:
        """Within the block no other transaction of this process is under way."""
        with waiting(f"another transaction to end before {what}", STORE):
            await self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    async def commit(self, batch: Sequence[Request[object]], what: str) -> None:
        """Make requests in one transaction, all in one go.

        A RM of what is not there is in order; any other refusal is raised.
        """

        async def make(tx: int) -> None:
            await self.apply([request._replace(tx=tx) for request in batch])

        await self.transaction(make, what)

    async def apply(self, batch: Sequence[Request[object]]) -> None:
        """Make requests in one go; a RM of what is not there is in order.  Raises StoreError."""
        for request, result in zip(batch, await self.batch(batch), strict=True):
            if isinstance(result, StoreError) and not (
                request.name == "RM" and result.errno == errno.ENOENT
            ):
                raise result

    @asynccontextmanager
    async def watching(self, path: str) -> AsyncIterator["Watching"]:
        """Watch *path* within the block."""
        with self._answer("WATCH", path):
            watch = await self._client.watch(path)
        try:
            yield Watching(watch)
        except BaseException:
            self._client.forget(watch)  # the store may be what was waited for in vain
            raise
        with self._answer("UNWATCH", path):
            await self._client.unwatch(watch)

    async def wait_for(
        self,
        path: str,
        wanted: Callable[[str | None], bool],
        timeout: float,
        what: str,
        party: Party = NOBODY,
    ) -> str | None:
        """Watch a node until its value is *wanted*; returns that value.

        Args:
            what: is waited for, in words; *party*, who is to write it.

        Raises: TimeoutError after *timeout* seconds, which says *what*.
        """
        async with self.watching(path) as watch:
            with waiting(what, Several((STORE, party)), timeout), anyio.move_on_after(timeout):
                while True:
                    await watch.next()
                    value = await self.read(path)
                    if wanted(value):
                        return value
        if why := self._explain():
            raise StoreSilent(errno.EAGAIN, f"waited {timeout:g} s for {what}: {why}")
        raise TimeoutError(f"waited {timeout:g} s for {what}")


class Watching:
    """Events of one watch; the first one comes at once, for the registration itself."""

    def __init__(self, watch: AsyncWatch) -> None:
        self._watch = watch

    async def next(self) -> str:
        """The path of the next event."""
        return await self._watch.next()


@asynccontextmanager
async def open_store(
    path: str,
    label: str,
    lab: str,
    lock: anyio.Lock,
    patience: float = PATIENCE,
    explain: Callable[[], str] = lambda: "",
    *,
    queue: float = 0.0,
) -> AsyncIterator[Store]:
    """A connection to the store's socket, named *label* in its trace.

    Transactions of connections with the same *lock* do not overlap.  *patience*: seconds to wait
    for a store that has died.  *queue*: seconds to wait at least for one that has no room for a
    connection.  *explain*: what is wrong with the store now, "" for nothing.

    Raises: StoreSilent when the store is not there, or has no room.
    """
    try:
        with waiting("the store to listen", STORE, max(patience, queue)):
            client = await connect(
                path, label, lab, timeout=ANSWER_TIMEOUT, patience=patience, queue=queue
            )
    except OSError as failure:
        why = explain() or f"{path}: {failure.strerror or failure}"
        what = "takes nobody" if isinstance(failure, BlockingIOError) else "does not listen"
        raise StoreSilent(failure.errno or errno.EIO, f"the store {what}: {why}") from None
    try:
        yield Store(client, lock, explain)
    finally:
        await client.aclose()


async def remove_with_empty_parents(store: Store, tx: int, path: str) -> None:
    """Remove *path*, and then each parent that is left with no value and no child.

    What libxl__xs_path_cleanup does; so no empty directory is left behind a last device.
    """
    while path.count("/") > 1:
        parent = path.rpartition("/")[0]
        asked = (requests.rm(path, tx), requests.read(parent, tx), requests.directory(parent, tx))
        _, value, names = await store.batch(asked)
        if isinstance(names, StoreError) and names.errno != errno.ENOENT:
            if names.errno == errno.E2BIG:
                return  # they do not fit into one answer
            raise names
        if value != "" or names:
            return
        path = parent
