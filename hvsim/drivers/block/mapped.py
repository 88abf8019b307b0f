"""The backend's side of grants: which pages of the frontend are mapped here, and for how long.

With persistent grants (xen/io/blkif.h, feature-persistent) a page stays mapped after its first
use; the table is bounded, and the page that was not used for longest goes first.  Without, pages
are mapped for one request and unmapped before it is answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hvsim import native
from hvsim.drivers.block.protocol import MAX_PERSISTENT_GRANTS

if TYPE_CHECKING:
    from hvsim._native import GrantCache
    from hvsim.domain.mapper import GrantMapper, Mapping


class FrontendPages:
    """Pages of frontend `domid`.

    Attributes:
        persistent: whether the frontend said feature-persistent.
        cache: the same table for the compiled batch service; None without it.
        mapped_once: pages that were mapped for one request, ever.
        evicted: persistent pages that had to make room.
    """

    def __init__(
        self,
        mapper: GrantMapper,
        domid: int,
        *,
        persistent: bool,
        capacity: int = MAX_PERSISTENT_GRANTS,
    ) -> None:
        self.persistent = persistent
        self.mapped_once = 0
        self.evicted = 0
        self._mapper = mapper
        self._domid = domid
        self._capacity = capacity
        self._pages: dict[int, Mapping] = {}
        self.cache: GrantCache | None = None
        module = native.load()
        if persistent and module is not None:
            self.cache = module.GrantCache()

    def __len__(self) -> int:
        return len(self._pages)

    @contextmanager
    def use(self, refs: Sequence[int], *, write: bool) -> Iterator[list[memoryview]]:
        """The bytes of the pages behind `refs`, in order, while the block runs.

        `write` says that they are written to (a read of the disk).
        Raises: GrantError when one of them cannot be mapped; none of the new ones is kept then.
        """
        if self.persistent:
            yield self._persistent(refs)
            return
        unique = list(dict.fromkeys(refs))
        mappings = self._mapper.map_many(self._domid, unique, not write)
        self.mapped_once += len(mappings)
        try:
            views = {ref: page.view for ref, page in zip(unique, mappings, strict=True)}
            yield [views[ref] for ref in refs]
        finally:
            self._mapper.unmap_many(mappings)

    def _persistent(self, refs: Sequence[int]) -> list[memoryview]:
        pages = self._pages
        missing = [ref for ref in dict.fromkeys(refs) if ref not in pages]
        if missing:
            self._make_room(len(missing), set(refs))
            mappings = self._mapper.map_many(self._domid, missing, False)
            for ref, page in zip(missing, mappings, strict=True):
                pages[ref] = page
                if self.cache is not None:
                    self.cache.add(ref, page.address, True)
        for ref in refs:
            if self.cache is not None:
                self.cache.touch(ref)
            else:
                pages[ref] = pages.pop(ref)  # the dictionary's order is the order of use
        return [pages[ref].view for ref in refs]

    def _make_room(self, count: int, needed: set[int]) -> None:
        surplus = len(self._pages) + count - self._capacity
        if surplus <= 0:
            return
        idle: list[int] = [ref for ref in self._pages if ref not in needed]
        if self.cache is not None:
            idle.sort(key=self.cache.stamp)
        self._drop(idle[:surplus])
        self.evicted += min(surplus, len(idle))

    def _drop(self, refs: Iterable[int]) -> None:
        mappings = []
        for ref in refs:
            if self.cache is not None:
                self.cache.drop(ref)
            mappings.append(self._pages.pop(ref))
        if mappings:
            self._mapper.unmap_many(mappings)

    def close(self) -> None:
        """Unmap everything.  Idempotent."""
        self._drop(list(self._pages))
