"""A door to the store for a program of dom0's that xenstored would not know as one.

The store serves who is in its own user namespace.  In a lab of an ordinary user dom0's links are in
another one, and so is a script that works on them.  The door is in a directory that only the lab's
owner may pass, and is gone with the script; what comes through it is called SCRIPT in the trace.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Final

import anyio

from hvsim.toolstack.host.store import PATIENCE
from hvsim.xs.aio_line import RETRY_STEP

CONNECTIONS: Final = 32
"""Programs of one script that may talk to the store at a time; others wait."""
_PIECE: Final = 1 << 16


@contextlib.asynccontextmanager
async def door(path: str, connect: Callable[[], socket.socket]) -> AsyncIterator[None]:
    """Serve at *path* until the block ends.

    Args:
        connect: makes a connection to the store, without waiting.  May raise OSError: then who
            comes is sent away; BlockingIOError: then it is asked again, for PATIENCE.

    Raises: OSError: no socket can be made at *path*.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.setblocking(False)
        listener.bind(path)
        listener.listen(CONNECTIONS)
        # A task of its own: what goes wrong in the block must come out of it as it is.
        doorman = asyncio.create_task(_accept(listener, connect))
        try:
            yield
        finally:
            doorman.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await doorman


async def _accept(listener: socket.socket, connect: Callable[[], socket.socket]) -> None:
    loop = asyncio.get_running_loop()
    limit = anyio.Semaphore(CONNECTIONS)
    async with anyio.create_task_group() as tasks:
        while True:
            await limit.acquire()
            client, _ = await loop.sock_accept(listener)
            tasks.start_soon(_serve, client, connect, limit)


async def _serve(
    client: socket.socket, connect: Callable[[], socket.socket], limit: anyio.Semaphore
) -> None:
    try:
        with client, await _enter(connect) as store:
            store.setblocking(False)
            async with anyio.create_task_group() as both:
                for source, target in ((client, store), (store, client)):
                    both.start_soon(_copy, source, target, both.cancel_scope)
    except OSError:
        pass  # the program, or the store, has gone: the other one sees it
    finally:
        limit.release()


async def _enter(connect: Callable[[], socket.socket]) -> socket.socket:
    """A connection to the store, which may have no room for one yet.  Raises: OSError."""
    deadline = anyio.current_time() + PATIENCE
    while True:
        try:
            return connect()
        except BlockingIOError:
            if anyio.current_time() >= deadline:
                raise
        await anyio.sleep(RETRY_STEP)


async def _copy(source: socket.socket, target: socket.socket, over: anyio.CancelScope) -> None:
    """Until either end has no more to say: no Xen tool closes half of its connection."""
    loop = asyncio.get_running_loop()
    try:
        while data := await loop.sock_recv(source, _PIECE):
            await loop.sock_sendall(target, data)
    except OSError:
        pass
    over.cancel()
