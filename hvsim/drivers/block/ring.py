"""The ring of a disk and what goes with it, as either half has it.

`FrontConnection` is what a blkfront shares with one backend: ring, event channel, data pages.
`BackConnection` is the same, mapped and bound by that backend.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hvsim.domain.hypercall import HypercallError
from hvsim.drivers.block.protocol import MAX_PERSISTENT_GRANTS, REQUEST_BYTES, RESPONSE_BYTES
from hvsim.drivers.split.attach import Attachment
from hvsim.drivers.split.pages import PeerPages
from hvsim.drivers.split.pool import PagePool
from hvsim.drivers.split.share import Share

if TYPE_CHECKING:
    from hvsim.domain import Domain
    from hvsim.drivers.split.deferred import DeferredGrants

SEGMENTS_PER_SLOT: Final = 12
"""Data pages per ring slot: eleven segments and one indirect frame."""
MAX_POOL_PAGES: Final = 1024
MIN_POOL_PAGES: Final = 40
"""Room for one request of the largest size."""


@dataclass(frozen=True, slots=True)
class RingKeys:
    """What a frontend published of its ring.

    Attributes:
        refs: grant references of its pages, in order.
        port: event channel, for the backend to bind.
        persistent: whether the frontend said feature-persistent.
    """

    refs: list[int]
    port: int
    persistent: bool


class FrontConnection:
    """Ring, port and pools for backend domain `peer`.

    Attributes:
        peer: domid of the backend.
        page: the ring's bytes.
        ring: the frontend's half.
        ring_refs: grant references of the ring's pages, in order.
        port: local event channel, for the backend to bind.
    """

    def __init__(
        self,
        dom: Domain,
        deferred: DeferredGrants,
        peer: int,
        ring_page_order: int,
        handler: Callable[[], None],
    ) -> None:
        """Raises: HypercallError(ENOMEM, ENOSPC), GrantTableFull; nothing is kept then."""
        self.peer = peer
        self._dom = dom
        self._share = Share(dom, deferred, peer)
        try:
            extent, self.ring_refs = self._share.grant(1 << ring_page_order)
            self.page = extent.view
            self.ring = self._share.ring(extent.view, REQUEST_BYTES, RESPONSE_BYTES)
            self.port = self._share.offer_port(handler)
        except BaseException:
            self._share.close()
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
        self._share.add_pool(extent, pool)
        return pool

    def close(self) -> None:
        """Give everything up.  Idempotent."""
        self._share.close()


class BackConnection:
    """A frontend's ring with its bound port, and the pages of its requests.

    Attributes:
        ring: the backend's half.
        pages: those of its requests.
        port: local event channel.
    """

    def __init__(self, dom: Domain, peer: int, keys: RingKeys, handler: Callable[[], None]) -> None:
        """Raises: GrantError (the ring), HypercallError (the port); nothing is kept then."""
        self._attachment = Attachment(dom, peer)
        try:
            self.ring = self._attachment.ring(keys.refs, REQUEST_BYTES, RESPONSE_BYTES)
            self.pages = PeerPages(
                dom.mapper,
                peer,
                persistent=keys.persistent,
                capacity=MAX_PERSISTENT_GRANTS,
                by_use=True,
            )
            self._attachment.before_end(self.pages.close)
            self.port = self._attachment.bind_port(keys.port, handler)
        except BaseException:
            self._attachment.close()
            raise

    def close(self) -> None:
        """Unbind and unmap everything.  Idempotent."""
        self._attachment.close()
