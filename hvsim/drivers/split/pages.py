"""Pages of a peer that a backend has mapped, and for how long.

With persistent grants (``feature-persistent``: xen/io/blkif.h, and our netif as blkif) a page stays
mapped after its first use; the table is bounded.  Without, pages are mapped for one request and
unmapped before it is answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hvsim import native

if TYPE_CHECKING:
    from hvsim._native import GrantCache
    from hvsim.domain.mapper import GrantMapper, Mapping


class PeerPages:
    """Pages of frontend `domid`.

    Args:
        capacity: persistent pages that stay mapped.
        by_use: the page that was not used for longest makes room first; else the one that was
            mapped first does, which costs a use nothing.

    Attributes:
        capacity: as above.
        persistent: whether the frontend said feature-persistent.
        cache: the same table for a compiled batch service; None without it.
        mapped_once: pages that were mapped for one request, ever.
        evicted: persistent pages that had to make room.
    """

    def __init__(
        self,
        mapper: GrantMapper,
        domid: int,
        *,
        persistent: bool,
        capacity: int,
        by_use: bool = False,
    ) -> None:
        self.persistent = persistent
        self.mapped_once = 0
        self.evicted = 0
        self._mapper = mapper
        self._domid = domid
        self.capacity = capacity
        self._by_use = by_use
        self._pages: dict[int, Mapping] = {}
        self._views: dict[int, memoryview] = {}
        self.cache: GrantCache | None = None
        module = native.load()
        if persistent and by_use and module is not None:
            self.cache = module.GrantCache()

    def __len__(self) -> int:
        return len(self._pages)

    @contextmanager
    def use(self, refs: Sequence[int], *, write: bool) -> Iterator[list[memoryview]]:
        """The bytes of the pages behind `refs`, in order, while the block runs.

        `write` says that they are written to.
        Raises: GrantError when one of them cannot be mapped; none of the new ones is kept then.
        """
        if self.persistent:
            yield self._known(refs)
            return
        unique = list(dict.fromkeys(refs))
        mappings = self._mapper.map_many(self._domid, unique, not write)
        self.mapped_once += len(mappings)
        try:
            views = {ref: page.view for ref, page in zip(unique, mappings, strict=True)}
            yield [views[ref] for ref in refs]
        finally:
            self._mapper.unmap_many(mappings)

    def _known(self, refs: Sequence[int]) -> list[memoryview]:
        known = self._views
        try:
            found = [known[ref] for ref in refs]
        except KeyError:
            self._map(refs)
            found = [known[ref] for ref in refs]
        if self._by_use:
            self._used(refs)
        return found

    def _used(self, refs: Sequence[int]) -> None:
        pages, cache = self._pages, self.cache
        for ref in refs:
            if cache is not None:
                cache.touch(ref)
            else:
                pages[ref] = pages.pop(ref)  # the dictionary's order is the order of use

    def _map(self, refs: Sequence[int]) -> None:
        missing = [ref for ref in dict.fromkeys(refs) if ref not in self._pages]
        self._make_room(len(missing), set(refs))
        mappings = self._mapper.map_many(self._domid, missing, False)
        for ref, page in zip(missing, mappings, strict=True):
            self._pages[ref] = page
            self._views[ref] = page.view
            if self.cache is not None:
                self.cache.add(ref, page.address, True)

    def _make_room(self, count: int, needed: set[int]) -> None:
        surplus = len(self._pages) + count - self.capacity
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
            del self._views[ref]
            mappings.append(self._pages.pop(ref))
        if mappings:
            self._mapper.unmap_many(mappings)

    def close(self) -> None:
        """Unmap everything.  Idempotent."""
        self._drop(list(self._pages))
