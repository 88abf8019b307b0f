"""The frontend's data pages: frames that are granted to one backend, and to no other ever.

A pool is one grant extent.  *Persistent* pools grant a page when it is first used and leave it
granted until the connection ends (feature-persistent); others grant for one request and take the
grant back when it was answered.  Pages are handed out last in, first out, so that a quiet device
touches few of them.

A backend only ever sees data of this very device in a pool, and each backend gets a pool of its
own, zeroed: nothing of the guest's other memory can leak through padding or a short request
(XSA-403).
"""

from __future__ import annotations

from typing import Protocol

from hvsim.domain.grants import GrantInUse


class PoolExtent(Protocol):
    """What a pool needs of `hvsim.domain.memory.Extent`."""

    @property
    def nr_pages(self) -> int: ...
    def page(self, index: int) -> memoryview: ...
    def gfn(self, index: int) -> int: ...


class PoolGrants(Protocol):
    """What a pool needs of `hvsim.domain.grants.GrantTable`."""

    def grant(self, domid: int, gfn: int, readonly: bool = False) -> int: ...
    def end_access(self, ref: int) -> None: ...


class PagePool:
    """Pages of one extent, granted to domain `peer`.

    Attributes:
        pages: each page's bytes.
        persistent: whether grants outlive their request.
        quarantined: pages that the peer did not let go of; never used again (XSA-396).
    """

    def __init__(
        self,
        extent: PoolExtent,
        grants: PoolGrants,
        peer: int,
        *,
        readonly: bool = False,
        persistent: bool = False,
    ) -> None:
        self.extent = extent
        self.persistent = persistent
        self.pages = [extent.page(index) for index in range(extent.nr_pages)]
        self.quarantined: list[int] = []
        self._grants = grants
        self._peer = peer
        self._readonly = readonly
        self._refs: dict[int, int] = {}
        self._free = list(range(extent.nr_pages - 1, -1, -1))

    @property
    def free(self) -> int:
        """Pages that may be taken."""
        return len(self._free)

    def take(self, count: int) -> list[int]:
        """Indices of `count` pages; the caller has checked `free`."""
        free = self._free
        if count == 1:
            return [free.pop()]
        taken = free[-count:]
        del free[-count:]
        taken.reverse()
        return taken

    def ref(self, page: int) -> int:
        """Grant reference of a taken page; granted now if it was not.

        Raises: GrantTableFull.
        """
        ref = self._refs.get(page)
        if ref is None:
            ref = self._grants.grant(self._peer, self.extent.gfn(page), self._readonly)
            self._refs[page] = ref
        return ref

    def give_back(self, pages: list[int]) -> bool:
        """The request with these pages was answered.  False when the peer still maps one of
        them though it said it was done: those are not used again."""
        if self.persistent:
            if len(pages) > 1:
                pages.reverse()
            self._free += pages
            return True
        clean = True
        for page in reversed(pages):
            ref = self._refs.get(page)
            if ref is not None:
                try:
                    self._grants.end_access(ref)
                except GrantInUse:
                    self.quarantined.append(page)
                    clean = False
                    continue
                del self._refs[page]
            self._free.append(page)
        return clean

    def release(self) -> list[int]:
        """Let go of the pages; the grant references that are left, for the caller to end."""
        for view in self.pages:
            view.release()
        self.pages = []
        self._free = []
        refs, self._refs = list(self._refs.values()), {}
        return refs
