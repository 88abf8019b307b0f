"""A domain's own memory: grant extents, and pages that were there at birth.

What is granted to a peer comes from *extents* made for granting: each is a memfd of whole pages,
shared with at most one peer for its whole life, because the grantee receives a descriptor for all
of it.  So an allocation is one extent, and one extent serves one device.
"""

from __future__ import annotations

import os
from typing import Final

from hvsim.abi.hypercall import (
    HVSIM_MEM_alloc_extent,
    HVSIM_MEM_free_extent,
    HVSIM_MEM_get_extent,
    HYPERVISOR_memory_op,
)
from hvsim.abi.memory import PAGE_SIZE
from hvsim.domain.hypercall import Hypercalls
from hvsim.domain.shm import SharedPages
from hvsim.wire.typed import read


class Extent:
    """Consecutive own pages that may be granted to one peer.

    Attributes:
        id: the hypervisor's name for the extent.
        base_gfn: guest frame number of its first page.
        nr_pages: how many pages (4 KiB each).
        fd: its descriptor, for who maps it once more; -1 when it was not asked for.
    """

    __slots__ = ("_pages", "base_gfn", "fd", "id", "nr_pages")

    def __init__(self, extent_id: int, base_gfn: int, nr_pages: int, pages: SharedPages) -> None:
        self.fd = -1
        self.id: Final = extent_id
        self.base_gfn: Final = base_gfn
        self.nr_pages: Final = nr_pages
        self._pages: Final = pages

    @property
    def view(self) -> memoryview:
        """All bytes, writable.  Raises ValueError once the extent was freed."""
        return self._pages.view

    @property
    def address(self) -> int:
        """Where the first byte lies, for scatter-gather I/O; 0 once the extent was freed."""
        return self._pages.address

    def page(self, index: int) -> memoryview:
        """The bytes of page *index*.  Raises IndexError, ValueError once freed."""
        if not 0 <= index < self.nr_pages:
            raise IndexError(f"page {index} of an extent of {self.nr_pages}")
        start = index * PAGE_SIZE
        return self._pages.view[start : start + PAGE_SIZE]

    def gfn(self, index: int) -> int:
        """Guest frame number of page *index*, for granting it.  Raises IndexError."""
        if not 0 <= index < self.nr_pages:
            raise IndexError(f"page {index} of an extent of {self.nr_pages}")
        return self.base_gfn + index


class Memory:
    """Allocates, frees and maps the domain's own pages."""

    def __init__(self, hypercalls: Hypercalls) -> None:
        self._hypercalls = hypercalls
        self._extents: dict[int, Extent] = {}
        self._born: list[Extent] = []

    def allocate(self, nr_pages: int, keep_fd: bool = False) -> Extent:
        """Take *nr_pages* zeroed pages out of the domain's RAM for granting.

        Args:
            keep_fd: keep the extent's descriptor open while the extent lives.

        Raises: HypercallError: ENOMEM when the RAM has no such room, EINVAL for a bad count.
        """
        results, fds = self._hypercalls.call_fds(
            HYPERVISOR_memory_op, HVSIM_MEM_alloc_extent, nr_pages, 0
        )
        extent_id, base_gfn = read(tuple[int, int], results)
        extent = self._map(extent_id, base_gfn, nr_pages, fds, keep_fd)
        self._extents[extent_id] = extent
        return extent

    def free(self, extent: Extent) -> None:
        """Give an extent back; its pages return to the domain's RAM.

        Raises: HypercallError: EBUSY while a peer maps a page; the extent stays usable then.
        """
        self._hypercalls.call(HYPERVISOR_memory_op, HVSIM_MEM_free_extent, extent.id)
        self._extents.pop(extent.id, None)
        self._close(extent)

    def own_page(self, gfn: int) -> memoryview:
        """The bytes of an own page, such as the store page or the console page of start_info.

        Raises: HypercallError: EINVAL for a frame that the domain does not have.
        """
        for extent in (*self._extents.values(), *self._born):
            if extent.base_gfn <= gfn < extent.base_gfn + extent.nr_pages:
                return extent.page(gfn - extent.base_gfn)
        results, fds = self._hypercalls.call_fds(HYPERVISOR_memory_op, HVSIM_MEM_get_extent, gfn)
        extent_id, base_gfn, nr_pages = read(tuple[int, int, int], results)
        extent = self._map(extent_id, base_gfn, nr_pages, fds)
        self._born.append(extent)
        return extent.page(gfn - base_gfn)

    def close(self) -> None:
        """Unmap everything without telling the hypervisor; it sees the process go."""
        for extent in (*self._extents.values(), *self._born):
            self._close(extent)
        self._extents.clear()
        self._born.clear()

    @staticmethod
    def _close(extent: Extent) -> None:
        extent._pages.close()
        if extent.fd >= 0:
            os.close(extent.fd)
            extent.fd = -1

    @staticmethod
    def _map(
        extent_id: int, base_gfn: int, nr_pages: int, fds: list[int], keep_fd: bool = False
    ) -> Extent:
        kept = -1
        try:
            pages = SharedPages([(fds[0], 0, nr_pages)])
            if keep_fd:
                kept = fds.pop(0)
        finally:
            for fd in fds:
                os.close(fd)
        extent = Extent(extent_id, base_gfn, nr_pages, pages)
        extent.fd = kept
        return extent
