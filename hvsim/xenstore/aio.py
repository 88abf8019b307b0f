"""The asynchronous client of the tools' socket, for processes with many slow conversations.

::

    async with await connect(path, "XL", "lab") as store:
        await store.write("/a", "1")
        watch = await store.watch("/a")
        path = await watch.next()

Runs on asyncio (also through anyio).  Requests of several tasks share the connection; the store
answers in the order they were made.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Final, TypeVar

from hvsim.abi import errno as xen_errno
from hvsim.abi import xs_wire
from hvsim.domain.xenbus import requests
from hvsim.domain.xenbus.client import MAX_TRANSACTION_ATTEMPTS
from hvsim.domain.xenbus.requests import (
    Request,
    StoreDisconnected,
    StoreError,
    StoreNotFound,
)
from hvsim.xenstore.client import default_socket, open_socket

T = TypeVar("T")

DEFAULT_TIMEOUT: Final = 60.0
_HEADER: Final = xs_wire.XSD_SOCKMSG.struct
_HEADER_SIZE: Final = _HEADER.size

Reply = tuple[int, bytes]


class AsyncWatch:
    """A registered watch: an async iterator of the paths that changed.

    Attributes:
        path: as registered.
        token: what the store repeats in each event.
    """

    def __init__(
        self, path: str, token: str, callback: Callable[[str], object] | None
    ) -> None:
        self.path = path
        self.token = token
        self._callback = callback
        self._events: deque[str] = deque()
        self._arrived = asyncio.Event()
        self._closed = False

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        try:
            return await self.next()
        except StoreDisconnected:
            raise StopAsyncIteration from None

    async def next(self) -> str:
        """The path of the next event.  Raises StoreDisconnected when none can come any more."""
        while not self._events:
            if self._closed:
                raise StoreDisconnected(xen_errno.EIO, "WATCH_EVENT", self.path)
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()

    def _event(self, path: str) -> None:
        if self._callback is not None:
            self._callback(path)
        else:
            self._events.append(path)
            self._arrived.set()

    def _close(self) -> None:
        self._closed = True
        self._arrived.set()


class _Wire(asyncio.Protocol):
    """The byte stream: pairs replies with requests, passes events on."""

    def __init__(self, on_event: Callable[[bytes], None], on_lost: Callable[[], None]) -> None:
        self.transport: asyncio.Transport | None = None
        self.waiting: deque[asyncio.Future[Reply]] = deque()
        self._on_event = on_event
        self._on_lost = on_lost
        self._in = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        buffer = self._in
        buffer += data
        position = 0
        end = len(buffer)
        while end - position >= _HEADER_SIZE:
            type, _req, _tx, length = _HEADER.unpack_from(buffer, position)
            stop = position + _HEADER_SIZE + length
            if stop > end:
                break
            payload = bytes(buffer[position + _HEADER_SIZE : stop])
            position = stop
            if type == xs_wire.XS_WATCH_EVENT:
                self._on_event(payload)
            elif self.waiting:
                # A future whose task was cancelled still takes its reply's place.
                future = self.waiting.popleft()
                if not future.done():
                    future.set_result((type, payload))
        del buffer[:position]

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        while self.waiting:
            future = self.waiting.popleft()
            if not future.done():
                future.cancel()
        self._on_lost()


class AsyncStore:
    """The verbs of the store as coroutines; see ``StoreClient`` for what each does and raises.

    Made by :func:`connect`; an async context manager.
    """

    def __init__(self, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.timeout = timeout
        self._watches: dict[str, AsyncWatch] = {}
        self._next_token = 1
        self._wire = _Wire(self._event, self._lost)

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
        transport = self._wire.transport
        if transport is not None:
            transport.close()
        self._lost()
        await asyncio.sleep(0)

    # -- requests --------------------------------------------------------------------------------

    async def pipeline(self, batch: Sequence[Request]) -> list[Any]:
        """Make many requests in one go; a refused one has its StoreError in the list.

        Raises: StoreDisconnected; TimeoutError that names the request without an answer.
        """
        if not batch:
            return []
        transport = self._wire.transport
        first = batch[0]
        for request in batch:
            if len(request.payload) > xs_wire.XENSTORE_PAYLOAD_MAX:
                raise StoreError(xen_errno.E2BIG, request.name, request.path)
        if transport is None or transport.is_closing():
            raise StoreDisconnected(xen_errno.EIO, first.name, first.path)
        loop = asyncio.get_running_loop()
        out = bytearray()
        futures: list[asyncio.Future[Reply]] = []
        for request in batch:
            future: asyncio.Future[Reply] = loop.create_future()
            futures.append(future)
            out += _HEADER.pack(request.op, 0, request.tx, len(request.payload))
            out += request.payload
        self._wire.waiting.extend(futures)
        transport.write(bytes(out))
        # Replies come in order: when the last is there, all are.
        done, _ = await asyncio.wait(futures[-1:], timeout=self.timeout)
        if not done:
            late = next(r for r, f in zip(batch, futures, strict=True) if not f.done())
            raise TimeoutError(
                f"waited {self.timeout:g} s for the store's answer to {late.name} {late.path}"
            )
        results: list[Any] = []
        for request, future in zip(batch, futures, strict=True):
            if future.cancelled():
                raise StoreDisconnected(xen_errno.EIO, request.name, request.path)
            try:
                results.append(request.result(*future.result()))
            except StoreError as error:
                results.append(error)
        return results

    async def call(self, request: Request) -> Any:
        """Make one request.  Raises StoreError."""
        result = (await self.pipeline((request,)))[0]
        if isinstance(result, StoreError):
            raise result
        return result

    async def read_many(self, paths: Iterable[str], tx: int = 0) -> list[str | None]:
        """Values of several nodes in one go; None for one that is missing or unreadable."""
        results = await self.pipeline([requests.read(path, tx) for path in paths])
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
            except BaseException:
                self._send_abort(tx)
                raise
            try:
                await self.call(requests.transaction_end(tx, True))
            except StoreError as error:
                if error.errno != xen_errno.EAGAIN:
                    raise
            else:
                return result
        raise StoreError(xen_errno.EAGAIN, "TRANSACTION", what)

    def _send_abort(self, tx: int) -> None:
        """Abort without waiting: the task may have been cancelled."""
        transport = self._wire.transport
        if transport is None or transport.is_closing():
            return
        self._wire.waiting.append(asyncio.get_running_loop().create_future())
        request = requests.transaction_end(tx, False)
        head = _HEADER.pack(request.op, 0, tx, len(request.payload))
        transport.write(head + request.payload)

    # -- watches ---------------------------------------------------------------------------------

    async def watch(
        self, path: str, callback: Callable[[str], object] | None = None
    ) -> AsyncWatch:
        """Watch *path*.  Without a *callback* events are taken from the watch itself."""
        token = str(self._next_token)
        self._next_token += 1
        watch = AsyncWatch(path, token, callback)
        self._watches[token] = watch
        try:
            await self.call(requests.watch(path, token))
        except BaseException:
            del self._watches[token]
            raise
        return watch

    async def unwatch(self, watch: AsyncWatch) -> None:
        """End a watch.  Idempotent; no error when the store has gone."""
        if self._watches.pop(watch.token, None) is not None:
            watch._close()
            try:
                await self.call(requests.unwatch(watch.path, watch.token))
            except StoreDisconnected:
                return

    def _event(self, payload: bytes) -> None:
        parts = requests.strings(payload)
        if len(parts) >= 2:
            watch = self._watches.get(parts[xs_wire.XS_WATCH_TOKEN])
            if watch is not None:
                watch._event(parts[xs_wire.XS_WATCH_PATH])

    def _lost(self) -> None:
        for watch in self._watches.values():
            watch._close()
        self._watches.clear()


async def connect(
    path: str = "", label: str = "", lab: str = "", timeout: float = DEFAULT_TIMEOUT
) -> AsyncStore:
    """Connect to the store's socket; *label* names the client in the store's trace.

    Raises: OSError when nobody listens there.
    """
    sock = open_socket(path or default_socket(), label, lab)
    store = AsyncStore(timeout)
    try:
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: store._wire, sock=sock)
    except BaseException:
        sock.close()
        raise
    return store
