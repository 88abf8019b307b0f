"""The asynchronous client of the tools' socket, for processes with many slow conversations.

::

    async with await connect(path, "XL", "lab") as store:
        await store.write("/a", "1")
        watch = await store.watch("/a")
        path = await watch.next()

Runs on asyncio (also through anyio).  Requests of several tasks share the connection; the store
answers in the order they were made.

With *patience* the client outlives the store's death: it connects again, watches again (each watch
fires once for that), and asks again what was not answered.  That is right for what it is used for:
every request outside a transaction says what is to be, not what is to change, so that doing it
twice is doing it once.  A transaction that was open, or whose commit was not answered, ends in
EAGAIN and is begun anew by :meth:`AsyncStore.transaction`: its function must be repeatable, as
after any conflict.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Final, TypeVar

from hvsim.abi import errno as xen_errno
from hvsim.abi import xs_wire
from hvsim.xs import requests
from hvsim.xs.aio_wire import AsyncWatch, Reply, Wire
from hvsim.xs.client import MAX_TRANSACTION_ATTEMPTS
from hvsim.xs.requests import (
    Request,
    StoreDisconnected,
    StoreError,
    StoreNotFound,
)
from hvsim.xs.sockets import default_socket, open_socket

T = TypeVar("T")

DEFAULT_TIMEOUT: Final = 60.0
RETRY_STEP: Final = 0.004
"""Seconds between two attempts to reach a store that has died."""
_EPOCH_SHIFT: Final = 32
_GONE_IS_DONE: Final = frozenset((xs_wire.XS_UNWATCH, xs_wire.XS_RM, xs_wire.XS_RELEASE))
"""Asked again after they may have been done, ENOENT says that they were."""


class AsyncStore:
    """The verbs of the store as coroutines; see ``StoreClient`` for what each does and raises.

    Made by :func:`connect`; an async context manager.
    """

    def __init__(
        self,
        open_socket: Callable[[], socket.socket],
        timeout: float = DEFAULT_TIMEOUT,
        patience: float = 0.0,
    ) -> None:
        self.timeout = timeout
        self._open_socket = open_socket
        self._patience = patience
        self._watches: dict[str, AsyncWatch] = {}
        self._next_token = 1
        self._epoch = 0
        self._closed = False
        self._up = asyncio.Event()
        self._reconnecting: asyncio.Task[None] | None = None
        self._wire = Wire(self._event, self._lost)

    async def __aenter__(self) -> AsyncStore:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection.  Idempotent."""
        self._give_up()
        if self._reconnecting is not None:
            self._reconnecting.cancel()
        transport = self._wire.transport
        if transport is not None:
            transport.close()
        await asyncio.sleep(0)

    # -- requests --------------------------------------------------------------------------------

    async def pipeline(self, batch: Sequence[Request]) -> list[Any]:
        """Make many requests in one go; a refused one has its StoreError in the list.

        Raises: StoreDisconnected; TimeoutError that names the request without an answer.
        """
        for request in batch:
            if len(request.payload) > xs_wire.XENSTORE_PAYLOAD_MAX:
                raise StoreError(xen_errno.E2BIG, request.name, request.path)
        results: list[Any] = [None] * len(batch)
        pending = list(range(len(batch)))
        again = False
        while pending:
            await self._connected(batch[pending[0]])
            pending = await self._attempt(batch, results, pending, again)
            again = True
        return results

    async def _attempt(
        self, batch: Sequence[Request], results: list[Any], pending: list[int], again: bool
    ) -> list[int]:
        """Make the *pending* requests of *batch*; returns those to make again in a new connection.

        *again*: they may have been carried out already.
        """
        alive = []
        for index in pending:
            request = batch[index]
            if request.tx and request.tx >> _EPOCH_SHIFT != self._epoch:
                results[index] = StoreError(xen_errno.EAGAIN, request.name, request.path)
            else:
                alive.append(index)
        if not alive:
            return []
        epoch = self._epoch
        futures = self._wire.send([batch[index] for index in alive])
        # Replies come in order: when the last is there, all are.
        done, _ = await asyncio.wait(futures[-1:], timeout=self.timeout)
        lost = []
        for index, future in zip(alive, futures, strict=True):
            request = batch[index]
            if not done and not future.done():
                raise TimeoutError(
                    f"waited {self.timeout:g} s for the store's answer to "
                    f"{request.name} {request.path}"
                )
            if not future.cancelled():
                results[index] = _result(request, future.result(), epoch, again)
            elif request.tx:
                results[index] = StoreError(xen_errno.EAGAIN, request.name, request.path)
            elif self._closed:
                raise StoreDisconnected(xen_errno.EIO, request.name, request.path)
            else:
                lost.append(index)
        return lost

    async def _connected(self, request: Request) -> None:
        """Wait until there is a connection.  Raises StoreDisconnected."""
        if not self._up.is_set():
            await self._up.wait()
        transport = self._wire.transport
        if self._closed or transport is None or transport.is_closing():
            raise StoreDisconnected(xen_errno.EIO, request.name, request.path)

    async def call(self, request: Request) -> Any:
        """Make one request.  Raises StoreError."""
        result = (await self.pipeline((request,)))[0]
        if isinstance(result, StoreError):
            raise result
        return result

    async def read_many(self, paths: Iterable[str], tx: int = 0) -> list[str | None]:
        """Values of several nodes in one go; None for one that is missing or unreadable."""
        results = await self.pipeline([requests.read(path, tx) for path in paths])
        for result in results:
            if isinstance(result, StoreError) and result.errno == xen_errno.EAGAIN:
                raise result  # the transaction has ended: "missing" would be a lie
        return [None if isinstance(value, StoreError) else value for value in results]

    async def read(self, path: str, tx: int = 0) -> str:
        """Value of a node."""
        return str(await self.call(requests.read(path, tx)))

    async def write(self, path: str, value: str | bytes, tx: int = 0) -> None:
        """Set a node's value."""
        await self.call(requests.write(path, value, tx))

    async def mkdir(self, path: str, tx: int = 0) -> None:
        """Make an empty node."""
        await self.call(requests.mkdir(path, tx))

    async def rm(self, path: str, tx: int = 0) -> None:
        """Remove a node and everything below."""
        await self.call(requests.rm(path, tx))

    async def directory(self, path: str, tx: int = 0) -> list[str]:
        """Names of the children."""
        try:
            return list(await self.call(requests.directory(path, tx)))
        except StoreError as error:
            if error.errno != xen_errno.E2BIG:
                raise
        for _ in range(MAX_TRANSACTION_ATTEMPTS):
            names, first, last = b"", "", False
            while not last:
                generation, part, last = await self.call(
                    requests.directory_part(path, len(names), tx)
                )
                if first and generation != first:
                    break
                first = generation
                names += part
            else:
                return requests.strings(names)
        raise StoreError(xen_errno.EAGAIN, "DIRECTORY_PART", path)

    async def exists(self, path: str, tx: int = 0) -> bool:
        """Whether there is such a node."""
        try:
            await self.call(requests.read_bytes(path, tx))
        except StoreNotFound:
            return False
        return True

    async def get_perms(self, path: str, tx: int = 0) -> list[str]:
        """Permissions, ``["n0", "r1"]``."""
        return list(await self.call(requests.get_perms(path, tx)))

    async def set_perms(self, path: str, perms: Iterable[str], tx: int = 0) -> None:
        """Replace the permissions of a node."""
        await self.call(requests.set_perms(path, perms, tx))

    async def introduce(self, domid: int, gfn: int, port: int) -> None:
        """Tell the store of a domain."""
        await self.call(requests.introduce(domid, gfn, port))

    async def release(self, domid: int) -> None:
        """The store forgets a domain."""
        await self.call(requests.release(domid))

    async def resume(self, domid: int) -> None:
        """A domain goes on after a suspend."""
        await self.call(requests.resume(domid))

    async def set_target(self, domid: int, target: int) -> None:
        """Give *domid* the rights of *target* in the store."""
        await self.call(requests.set_target(domid, target))

    async def is_domain_introduced(self, domid: int) -> bool:
        """Whether the store serves the domain."""
        return bool(await self.call(requests.is_domain_introduced(domid)))

    async def get_domain_path(self, domid: int) -> str:
        """``/local/domain/<domid>``."""
        return str(await self.call(requests.get_domain_path(domid)))

    async def control(self, *arguments: str) -> str:
        """A CONTROL command."""
        return str(await self.call(requests.control(arguments)))

    # -- transactions ----------------------------------------------------------------------------

    async def transaction(self, fn: Callable[[int], Awaitable[T]], what: str) -> T:
        """Run ``await fn(tx)`` in a transaction and commit; begin anew on a conflict.

        Raises: what *fn* raises (the transaction is aborted); StoreError(EAGAIN) after too many
            conflicts, naming *what*.
        """
        for _ in range(MAX_TRANSACTION_ATTEMPTS):
            tx = int(await self.call(requests.transaction_start()))
            try:
                result = await fn(tx)
            except BaseException as error:
                self.abort(tx)
                if isinstance(error, StoreError) and error.errno == xen_errno.EAGAIN:
                    continue  # the store has died in between
                raise
            try:
                await self.call(requests.transaction_end(tx, True))
            except StoreError as error:
                if error.errno != xen_errno.EAGAIN:
                    raise
            else:
                return result
        raise StoreError(xen_errno.EAGAIN, "TRANSACTION", what)

    def abort(self, tx: int) -> None:
        """Abort without waiting: the task may have been cancelled, or the store stand still."""
        transport = self._wire.transport
        if transport is None or transport.is_closing() or tx >> _EPOCH_SHIFT != self._epoch:
            return
        self._wire.send([requests.transaction_end(tx, False)])

    # -- watches ---------------------------------------------------------------------------------

    async def watch(self, path: str, callback: Callable[[str], object] | None = None) -> AsyncWatch:
        """Watch *path*.  Without a *callback* events are taken from the watch itself."""
        token = str(self._next_token)
        self._next_token += 1
        watch = AsyncWatch(path, token, callback)
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
            watch._close()
            try:
                await self.call(requests.unwatch(watch.path, watch.token))
            except StoreDisconnected:
                return

    def forget(self, watch: AsyncWatch) -> None:
        """End a watch without telling the store, for a connection that is about to be closed."""
        self._watches.pop(watch.token, None)
        watch._close()

    def _event(self, payload: bytes) -> None:
        parts = requests.strings(payload)
        if len(parts) >= 2:
            watch = self._watches.get(parts[xs_wire.XS_WATCH_TOKEN])
            if watch is not None:
                watch._event(parts[xs_wire.XS_WATCH_PATH])

    # -- the store's death -----------------------------------------------------------------------

    def _lost(self, wire: Wire) -> None:
        if wire is not self._wire:
            return
        self._up.clear()
        if self._reconnecting is not None and not self._reconnecting.done():
            return  # it died again meanwhile; who is at it sees that
        if self._closed or not self._patience:
            self._give_up()
        else:
            self._epoch += 1
            self._reconnecting = asyncio.get_running_loop().create_task(self._reconnect())

    def _give_up(self) -> None:
        self._closed = True
        for watch in self._watches.values():
            watch._close()
        self._watches.clear()
        self._up.set()  # whoever waits learns that there will be none

    async def _reconnect(self) -> None:
        """Connect and watch again, within the time that there is patience for."""
        deadline = asyncio.get_running_loop().time() + self._patience
        try:
            while not await self._rejoin(deadline):
                if asyncio.get_running_loop().time() >= deadline:
                    raise TimeoutError("the store dies again and again")
        except (OSError, TimeoutError):
            self._give_up()

    async def _rejoin(self, deadline: float) -> bool:
        """One more connection; False when it was lost again at once."""
        wire = Wire(self._event, self._lost)
        await _open_wire(wire, self._open_socket, deadline)
        self._wire = wire
        if not wire.alive():
            return False
        batch = [
            requests.watch(watch.path, watch.token)
            for watch in self._watches.values()
            if watch.registered
        ]
        if batch:
            left = max(0.1, deadline - asyncio.get_running_loop().time())
            futures = wire.send(batch)
            done, _ = await asyncio.wait(futures[-1:], timeout=left)
            if not done:
                raise TimeoutError("the new store does not answer")
        if wire.transport is None:
            return False  # its _lost() has begun a further attempt
        self._up.set()
        return True


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
    await _open_wire(store._wire, opener, now + patience, now + queue)
    store._up.set()
    return store


async def _open_wire(
    wire: Wire, opener: Callable[[], socket.socket], deadline: float, room: float = 0.0
) -> None:
    """Connect *wire*, trying again until *deadline* (the loop's time), and until *room* while
    somebody listens who has none.  Raises OSError."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            sock = opener()
            break
        except OSError as failure:
            last = max(deadline, room) if isinstance(failure, BlockingIOError) else deadline
            if loop.time() >= last:
                raise
        await asyncio.sleep(RETRY_STEP)
    try:
        sock.setblocking(False)
        await loop.create_unix_connection(lambda: wire, sock=sock)
    except BaseException:
        sock.close()
        raise


def _result(request: Request, reply: Reply, epoch: int, again: bool) -> Any:
    """What a reply means, a StoreError included; a transaction's id carries its connection."""
    try:
        result = request.result(*reply)
    except StoreError as error:
        if again and error.errno == xen_errno.ENOENT and request.op in _GONE_IS_DONE:
            return None
        return error
    if request.op == xs_wire.XS_TRANSACTION_START:
        return int(result) | epoch << _EPOCH_SHIFT
    return result
