"""What a blkfront shares with one backend: ring, event channel, data pages.

All of it belongs to that backend alone and is given up as a whole; a new backend gets a new one,
in fresh frames.  A frame that the peer still maps cannot be freed: it is kept in `Leftovers` and
tried again, as Linux does with deferred grants.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hvsim.domain.hypercall import HypercallError
from hvsim.domain.ring import FrontRing
from hvsim.drivers.block.pool import PagePool
from hvsim.drivers.block.protocol import REQUEST_BYTES, RESPONSE_BYTES

if TYPE_CHECKING:
    from hvsim.domain import Domain
    from hvsim.domain.memory import Extent

SEGMENTS_PER_SLOT: Final = 12
"""Data pages per ring slot: eleven segments and one indirect frame."""
MAX_POOL_PAGES: Final = 1024
MIN_POOL_PAGES: Final = 40
"""Room for one request of the largest size."""

_RETRY_FIRST: Final = 0.05
_RETRY_LAST: Final = 10.0


class Leftovers:
    """Extents whose grants the peer has not let go of yet; freed when it has."""

    def __init__(self, dom: Domain) -> None:
        self._dom = dom
        self._kept: list[tuple[Extent, list[int]]] = []
        self._delay = _RETRY_FIRST
        self._armed = False

    @property
    def nr_pages(self) -> int:
        """Pages that cannot be freed yet."""
        return sum(extent.nr_pages for extent, _ in self._kept)

    def bury(self, extent: Extent, refs: list[int]) -> None:
        """End the grants `refs` and free `extent`, now or as soon as the peer allows."""
        self._kept.append((extent, refs))
        self._delay = _RETRY_FIRST
        self._try()

    def _retry(self) -> None:
        self._armed = False
        self._delay = min(self._delay * 2, _RETRY_LAST)
        self._try()

    def _try(self) -> None:
        kept = []
        for extent, refs in self._kept:
            held = self._dom.grants.end_access_many(refs) if refs else []
            if not held:
                try:
                    self._dom.memory.free(extent)
                    continue
                except HypercallError as error:
                    if error.errno != errno.EBUSY:
                        raise
            kept.append((extent, held))
        self._kept = kept
        if kept and not self._armed:
            self._armed = True
            self._dom.vcpu.call_later(self._delay, self._retry)


class Connection:
    """Ring, port and pools for backend domain `peer`.

    Attributes:
        peer: domid of the backend.
        ring: the frontend's half.
        ring_refs: grant references of the ring's pages, in order.
        port: local event channel, for the backend to bind.
    """

    def __init__(
        self,
        dom: Domain,
        leftovers: Leftovers,
        peer: int,
        ring_page_order: int,
        handler: Callable[[], None],
    ) -> None:
        """Raises: HypercallError(ENOMEM, ENOSPC), GrantTableFull; nothing is kept then."""
        self.peer = peer
        self._dom = dom
        self._leftovers = leftovers
        self._pools: list[tuple[Extent, PagePool]] = []
        self._closed = False
        self.ring_refs: list[int] = []
        self._extent = dom.memory.allocate(1 << ring_page_order)
        try:
            gfns = [self._extent.gfn(page) for page in range(1 << ring_page_order)]
            self.ring_refs = dom.grants.grant_many(peer, gfns)
            self.ring = FrontRing(self._extent.view, REQUEST_BYTES, RESPONSE_BYTES)
            self.port = dom.events.alloc_unbound(peer, handler)
        except BaseException:
            leftovers.bury(self._extent, self.ring_refs)
            raise

    def open_pools(self, persistent: bool) -> tuple[PagePool, PagePool]:
        """Pages for reads and pages for writes.  Persistent grants serve both ways; else what is
        only to be read by the backend is granted read-only, from frames of its own.

        Raises: HypercallError(ENOMEM).
        """
        if persistent:
            pool = self._pool(readonly=False, persistent=True)
            return pool, pool
        return (
            self._pool(readonly=False, persistent=False),
            self._pool(readonly=True, persistent=False),
        )

    def _pool(self, *, readonly: bool, persistent: bool) -> PagePool:
        wanted = min(self.ring.size * SEGMENTS_PER_SLOT, MAX_POOL_PAGES)
        while True:
            try:
                extent = self._dom.memory.allocate(wanted)
                break
            except HypercallError as error:
                if error.errno != errno.ENOMEM or wanted // 2 < MIN_POOL_PAGES:
                    raise
                wanted //= 2
        pool = PagePool(
            extent, self._dom.grants, self.peer, readonly=readonly, persistent=persistent
        )
        self._pools.append((extent, pool))
        return pool

    def close(self) -> None:
        """Give everything up.  Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._dom.events.close(self.port)
        self.ring.release()
        for extent, pool in self._pools:
            refs = pool.release()
            self._leftovers.bury(extent, refs)
        self._leftovers.bury(self._extent, self.ring_refs)
