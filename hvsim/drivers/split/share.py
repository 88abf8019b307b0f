"""What a frontend shares with one backend: frames that it grants, ports that it offers.

All of it belongs to that backend alone and is given up as a whole; a new backend gets a share of
its own, in fresh, zeroed frames, so that nothing of another life can leak (XSA-403).  The other
half of it is `attach.Attachment`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hvsim.domain.ring import FrontRing
from hvsim.domain.seams import PORT

if TYPE_CHECKING:
    from hvsim.domain import Domain
    from hvsim.domain.memory import Extent
    from hvsim.drivers.split.deferred import DeferredGrants
    from hvsim.drivers.split.pool import PagePool


class Share:
    """With backend domain `peer`; empty at first.

    Attributes:
        peer: domid of the backend.
    """

    def __init__(self, dom: Domain, deferred: DeferredGrants, peer: int) -> None:
        self.peer = peer
        self._dom = dom
        self._deferred = deferred
        self._ports: list[int] = []
        self._views: list[Callable[[], None]] = []
        self._pools: list[tuple[Extent, PagePool]] = []
        self._granted: list[tuple[Extent, list[int]]] = []

    def grant(self, nr_pages: int) -> tuple[Extent, list[int]]:
        """Fresh frames, all granted for writing: (their extent, their references in order).

        Raises: HypercallError(ENOMEM), GrantTableFull; nothing of these is kept then.
        """
        extent = self._dom.memory.allocate(nr_pages)
        refs: list[int] = []
        self._granted.append((extent, refs))
        refs += self._dom.grants.grant_many(self.peer, [extent.gfn(n) for n in range(nr_pages)])
        return extent, refs

    def ring(self, page: memoryview, request_bytes: int, response_bytes: int) -> FrontRing:
        """The frontend's half of a ring in granted pages."""
        ring = FrontRing(page, request_bytes, response_bytes)
        self._views.append(ring.release)
        return ring

    def offer_port(self, handler: Callable[[], None]) -> int:
        """An event channel for the backend to bind.  Raises: HypercallError(ENOSPC)."""
        port = self._dom.events.alloc_unbound(self.peer, handler)
        self._ports.append(port)
        return port

    def add_pool(self, extent: Extent, pool: PagePool) -> None:
        """A pool, whose pages are granted one by one, goes with the rest."""
        self._pools.append((extent, pool))

    def before_end(self, release: Callable[[], None]) -> None:
        """Call *release* when the share ends, before its frames are given up: for views."""
        self._views.append(release)

    def close(self) -> None:
        """Give everything up.  Idempotent."""
        ports, self._ports = self._ports, []
        for port in ports:
            self._dom.seams.let_go(PORT, port)
            self._dom.events.close(port)
        views, self._views = self._views, []
        for release in views:
            release()
        pools, self._pools = self._pools, []
        for extent, pool in pools:
            self._deferred.end(extent, pool.release())
        granted, self._granted = self._granted, []
        for extent, refs in granted:
            self._deferred.end(extent, refs)
