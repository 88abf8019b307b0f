"""A watch of the asynchronous client: events are taken from it, one after the other."""

from __future__ import annotations

import asyncio
from collections import deque

from hvsim.abi import errno as xen_errno
from hvsim.xs.errors import StoreDisconnected


class AsyncWatch:
    """A registered watch.

    Attributes:
        path: as registered.
        token: what the store repeats in each event.
        registered: the store knows of it; to be registered anew when it has died.
    """

    def __init__(self, path: str, token: str) -> None:
        self.path = path
        self.token = token
        self.registered = False
        self._events: deque[str] = deque()
        self._arrived = asyncio.Event()
        self._closed = False

    async def next(self) -> str:
        """The path of the next event.  Raises StoreDisconnected when none can come any more."""
        while not self._events:
            if self._closed:
                raise StoreDisconnected(xen_errno.EIO, "WATCH_EVENT", self.path)
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()

    def event(self, path: str) -> None:
        """The store says that *path* has changed."""
        self._events.append(path)
        self._arrived.set()

    def close(self) -> None:
        """No event can come any more."""
        self._closed = True
        self._arrived.set()
