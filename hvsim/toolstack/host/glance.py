"""The store for listings: who only looks does not wait for a store that stands still.

``xl list`` needs the store for names, ``block-list`` for a handful of nodes.  All that matters of
them the toolstack wrote itself, and knows.  So a *glance* asks the store as long as that answers at
once, and from then on tells from memory: names, devices and where their halves are; what only the
halves know (states, ring references) is missing.  Whoever looks is told once, on stderr, who stands
still.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol, TypeVar

import anyio

from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.device import Attached
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.nodes import domain_path
from hvsim.toolstack.host.store import Store, open_store
from hvsim.toolstack.host.trouble import Census
from hvsim.toolstack.host.waiting import STORE

T = TypeVar("T")

PATIENCE: Final = 0.1
"""Seconds that the store has for a whole listing."""
_DEVICES: Final = re.compile(r"/libxl/(\d+)/device(?:/([a-z][a-z0-9-]*))?")


class Teller(Protocol):
    """Who is told that something is from memory."""

    async def err(self, *lines: str) -> None:
        """Lines for stderr."""


class Glance:
    """One listing's look at the store; ``glance`` makes one.

    Attributes:
        why: who stands still, in a sentence; "" while the store answers.
    """

    def __init__(self, toolstack: Toolstack, teller: Teller, census: Census | None = None) -> None:
        self.why = ""
        self._census = census
        self._toolstack = toolstack
        self._teller = teller
        self._left = PATIENCE
        self._opened: AbstractAsyncContextManager[Store] | None = None
        self._store: Store | None = None

    async def aclose(self) -> None:
        """Hang up.  Never waits for the store."""
        if self._opened is not None:
            opened, self._opened = self._opened, None
            await opened.__aexit__(None, None, None)

    async def live(self) -> Store | None:
        """The store itself, for what memory cannot tell; None while it does not answer."""
        if self.why:
            return None
        if self._store is None:
            await self._open()
        return self._store

    async def read(self, path: str, tx: int = 0) -> str | None:
        """A node's value, None without such a node."""
        return (await self.read_many([path], tx))[0]

    async def read_many(self, paths: Iterable[str], tx: int = 0) -> list[str | None]:
        """Values of several nodes, None for each that is missing or is not known."""
        asked = list(paths)
        return await self._ask(
            lambda store: store.read_many(asked, tx),
            lambda: [self._remember(path) for path in asked],
        )

    async def children(self, path: str, tx: int = 0) -> list[str]:
        """Names below a node; none for a node that does not exist, or is not known."""
        return await self._ask(
            lambda store: store.children(path, tx), lambda: self._names_below(path)
        )

    # -- the store, or memory ------------------------------------------------------------------

    async def _ask(self, ask: Callable[[Store], Awaitable[T]], remember: Callable[[], T]) -> T:
        store = await self.live()
        if store is not None:
            before = anyio.current_time()
            with anyio.move_on_after(self._left):
                answer = await ask(store)
                self._left -= anyio.current_time() - before
                return answer
            await self._give_up()
        return remember()

    async def _open(self) -> None:
        """Connect, unless it is known to be in vain."""
        census = self._toolstack.census() if self._census is None else self._census
        if STORE.trouble(census) is None:
            before = anyio.current_time()
            opened = open_store(
                self._toolstack.store_path, "XL", self._toolstack.lab, anyio.Lock(), self._left
            )
            try:
                self._store = await opened.__aenter__()
            except OSError:
                pass  # nobody listened within that time
            else:
                self._opened = opened
                self._left -= anyio.current_time() - before
                return
        await self._give_up()

    async def _give_up(self) -> None:
        trouble = STORE.trouble(self._toolstack.census())
        because = "xenstored runs, and does not answer" if trouble is None else trouble.text
        self._store = None
        self.why = f"{because}; names and devices are told from the toolstack's memory"
        await self._teller.err(self.why)

    # -- memory --------------------------------------------------------------------------------

    def _names_below(self, path: str) -> list[str]:
        found = _DEVICES.fullmatch(path)
        guest = self._toolstack.guest(int(found[1])) if found else None
        if guest is None or found is None:
            return []
        if found[2] is None:
            return list(dict.fromkeys(one.device.kind for one in guest.devices))
        return [str(number) for number in guest.of(found[2])]

    def _remember(self, path: str) -> str | None:
        if path == f"{domain_path(0)}/name":
            return "Domain-0"
        for guest in self._toolstack.guests.values():
            if path == f"{domain_path(guest.domid)}/name":
                return guest.name
            for attached in guest.devices:
                if path.startswith(f"{attached.device.libxl}/"):
                    return _copy(attached).get(path.rpartition("/")[2])
        return None


def _copy(attached: Attached) -> dict[str, str]:
    """What libxl's own copy of a device says."""
    device = attached.device
    places = {"frontend": device.frontend, "backend": device.backend}
    return {**places, **dict(attached.half.backend_nodes(device))}


@asynccontextmanager
async def glance(
    toolstack: Toolstack, teller: Teller, census: Census | None = None
) -> AsyncIterator[Glance]:
    """The store for somebody who only looks: what it does not tell at once, the toolstack tells
    from memory, and *teller* hears whose fault that is.  Who has just taken a *census* hands it in.

    Raises: ToolstackError when the store is lost.
    """
    if toolstack.lost:
        raise ToolstackError(toolstack.lost)
    looking = Glance(toolstack, teller, census)
    try:
        yield looking
    finally:
        await looking.aclose()
