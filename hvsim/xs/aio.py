"""The asynchronous client of the tools' socket, for processes with many slow conversations.

::

    store = await connect(path, "XL", "lab")
    await store.call(requests.write("/a", "1"))
    watch = await store.watch("/a")
    path = await watch.next()
    await store.aclose()

Runs on asyncio (also through anyio).  Requests of several tasks share the connection; the store
answers in the order they were made.

With *patience* the client outlives the store's death: it connects again, watches again (each watch
fires once for that), and asks again what was not answered.  That is right for what it is used for:
every request outside a transaction says what is to be, not what is to change, so that doing it
twice is doing it once.  A transaction that was open, or whose commit was not answered, ends in
EAGAIN, as after any conflict.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar, cast

from hvsim.abi import errno as xen_errno
from hvsim.abi import xs_wire
from hvsim.xs import requests
from hvsim.xs.aio_line import Line, over_within
from hvsim.xs.aio_watch import AsyncWatch
from hvsim.xs.errors import StoreDisconnected, StoreError
from hvsim.xs.listing import Listing
from hvsim.xs.requests import Request
from hvsim.xs.sockets import default_socket, open_socket
from hvsim.xs.wire import Reply

T = TypeVar("T")
DEFAULT_TIMEOUT: Final = 60.0
_EPOCH_SHIFT: Final = 32
"""A transaction's number says in its upper half which of the stores it belongs to."""
_GONE_IS_DONE: Final = frozenset((xs_wire.XS_UNWATCH, xs_wire.XS_RM, xs_wire.XS_RELEASE))
"""Asked again after they may have been done, ENOENT says that they were."""


class AsyncStore:
    """Makes requests; made by :func:`connect`.

    Every coroutine raises StoreDisconnected when the store is gone for good, and TimeoutError that
    names the request without an answer.
    """

    def __init__(
        self, opener: Callable[[], socket.socket], timeout: float, patience: float
    ) -> None:
        self.timeout = timeout
        self.line = Line(opener, self._event, self._registrations, patience, self._ended)
        self._watches: dict[str, AsyncWatch] = {}
        self._next_token = 1

    async def aclose(self) -> None:
        """Close the connection.  Idempotent."""
        await self.line.aclose()

    # -- requests --------------------------------------------------------------------------------

    async def pipeline(self, batch: Sequence[Request[T]]) -> list[T | StoreError]:
        """Make many requests in one go; a refused one has its StoreError in the list."""
        results: dict[int, T | StoreError] = {}
        pending = list(range(len(batch)))
        again = False
        while pending:
            if not await self.line.connected():
                raise _gone(batch[pending[0]])
            pending = await self._attempt(batch, results, pending, again)
            again = True
        return [results[index] for index in range(len(batch))]

    async def _attempt(
        self,
        batch: Sequence[Request[T]],
        results: dict[int, T | StoreError],
        pending: list[int],
        again: bool,
    ) -> list[int]:
        """Make the *pending* requests of *batch*; returns those to make again in a new connection.

        *again*: they may have been carried out already.
        """
        alive = []
        epoch = self.line.epoch
        for index in pending:
            request = batch[index]
            if request.tx and request.tx >> _EPOCH_SHIFT != epoch:
                results[index] = request.error(xen_errno.EAGAIN)
            else:
                alive.append(index)
        if not alive:
            return []
        exchange, over = self.line.send([batch[index] for index in alive])
        in_time = await over_within(over, self.timeout)
        for index, reply in zip(alive, exchange.replies, strict=False):
            results[index] = _result(batch[index], reply, epoch, again)
        unanswered = alive[len(exchange.replies) :]
        if unanswered and not in_time:
            raise TimeoutError(f"waited {self.timeout:g} s for {exchange.next.awaited}")
        lost = []
        for index in unanswered:
            request = batch[index]
            if request.tx:
                results[index] = request.error(xen_errno.EAGAIN)
            elif self.line.ended:
                raise _gone(request)
            else:
                lost.append(index)
        return lost

    async def call(self, request: Request[T]) -> T:
        """Make one request.  Raises StoreError."""
        result = (await self.pipeline((request,)))[0]
        if isinstance(result, StoreError):
            raise result
        return result

    async def read_many(self, paths: Iterable[str], tx: int = 0) -> list[str | None]:
        """Values of several nodes in one go; None for one that is missing or unreadable."""
        return requests.values(await self.pipeline([requests.read(path, tx) for path in paths]))

    async def directory(self, path: str, tx: int = 0) -> list[str]:
        """Names of the children.  Raises StoreError."""
        try:
            return await self.call(requests.directory(path, tx))
        except StoreError as error:
            if error.errno != xen_errno.E2BIG:
                raise
        listing = Listing(path, tx)
        while (names := listing.take(await self.call(listing.request))) is None:
            pass
        return names

    def abort(self, tx: int) -> None:
        """Abort a transaction without waiting: the task may have been cancelled, or the store
        stand still."""
        if self.line.alive() and tx >> _EPOCH_SHIFT == self.line.epoch:
            self.line.send([requests.transaction_end(tx, False)])

    # -- watches ---------------------------------------------------------------------------------

    async def watch(self, path: str) -> AsyncWatch:
        """Watch *path*.  Raises StoreError."""
        token = str(self._next_token)
        self._next_token += 1
        watch = AsyncWatch(path, token)
        self._watches[token] = watch
        try:
            await self.call(requests.watch(path, token))
        except BaseException:
            self._watches.pop(token, None)
            raise
        watch.registered = True
        return watch

    async def unwatch(self, watch: AsyncWatch) -> None:
        """End a watch.  Idempotent; no error when the store has gone."""
        if self._watches.pop(watch.token, None) is not None:
            watch.close()
            try:
                await self.call(requests.unwatch(watch.path, watch.token))
            except StoreDisconnected:
                return

    def forget(self, watch: AsyncWatch) -> None:
        """End a watch without telling the store, for a connection that is about to be closed."""
        self._watches.pop(watch.token, None)
        watch.close()

    def _event(self, payload: bytes) -> None:
        parts = requests.strings(payload)
        if len(parts) >= 2:
            watch = self._watches.get(parts[xs_wire.XS_WATCH_TOKEN])
            if watch is not None:
                watch.event(parts[xs_wire.XS_WATCH_PATH])

    def _registrations(self) -> list[Request[object]]:
        return [
            requests.watch(watch.path, watch.token)
            for watch in self._watches.values()
            if watch.registered
        ]

    def _ended(self) -> None:
        for watch in self._watches.values():
            watch.close()
        self._watches.clear()


async def connect(
    path: str = "",
    label: str = "",
    lab: str = "",
    timeout: float = DEFAULT_TIMEOUT,
    patience: float = 0.0,
    queue: float = 0.0,
) -> AsyncStore:
    """Connect to the store's socket; *label* names the client in the store's trace.

    Args:
        patience: seconds to wait for a store that is not there, now or when it dies later.
        queue: seconds to wait at least for one that is there and has no room for us yet: Xen's own
            daemons let one connection wait (``listen(fd, 1)``).

    Raises: OSError when nobody listens there; BlockingIOError when there was no room.
    """

    def opener() -> socket.socket:
        return open_socket(path or default_socket(), label, lab, blocking=False)

    store = AsyncStore(opener, timeout, patience)
    now = asyncio.get_running_loop().time()
    await store.line.open(now + patience, now + queue)
    return store


def _gone(request: Request[object]) -> StoreDisconnected:
    return StoreDisconnected(xen_errno.EIO, request.name, request.path)


def _result(request: Request[T], reply: Reply, epoch: int, again: bool) -> T | StoreError:
    """What a reply means, a StoreError included; a transaction's id carries its connection."""
    try:
        result = request.result(*reply)
    except StoreError as error:
        if again and error.errno == xen_errno.ENOENT and request.op in _GONE_IS_DONE:
            return request.answer(b"OK\0")
        return error
    if request.op == xs_wire.XS_TRANSACTION_START:
        return cast("T", cast("int", result) | epoch << _EPOCH_SHIFT)
    return result
