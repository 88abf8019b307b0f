"""A domain's memory: guest frames, machine frames, and the extents that hold the bytes.

Guest frames ``0 .. nr_pages`` map to machine frames (p2m). A guest frame is in one of three
states, and so the host memory a domain can touch never exceeds what it was lent:

    plain RAM        accounted, not backed: no byte of it exists yet
    in a RAM extent  backed by a memfd that only this domain ever holds
    in a grant extent  backed by a memfd that is shared with at most one peer for its whole life
"""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

from hvsim.abi.errno import EBUSY, EINVAL, ENOMEM, ENOSPC
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.heap import Run, Runs
from hvsim.hypervisor.host import Memory

MAX_EXTENTS: Final = 1024
"""Extents of one domain: each costs the hypervisor a descriptor."""
RAM_CHUNK_PAGES: Final = 1024
"""RAM is backed in pieces of up to this many pages (4 MiB)."""


@dataclass(slots=True, eq=False)
class Extent:
    """Consecutive guest frames of one domain, backed by one piece of shared memory.

    Attributes:
        id: unique in the whole machine and never used again.
        grantable: False for plain RAM.
        token: the process it was made for, None for what the domain was born with.
        peer: the one domain it is shared with, once it is.
        writable: how it is shared, once it is.
        pins: live mappings of its pages by the peer.
        orphan: its process has gone; it goes with its last pin.
    """

    id: int
    domid: int
    base_gfn: int
    nr_pages: int
    memory: Memory
    grantable: bool
    token: int | None = None
    peer: int | None = None
    writable: bool = True
    pins: int = 0
    orphan: bool = False


class DomainMemory:
    """p2m and extents of one domain."""

    def __init__(self, domid: int) -> None:
        self.domid = domid
        self.nr_pages = 0
        self.extents: dict[int, Extent] = {}
        self._ram = Runs()
        self._p2m: list[tuple[int, int, int]] = []  # gfn, mfn, count; ascending
        self._bases: list[int] = []
        self._by_base: dict[int, Extent] = {}

    def populate(self, runs: list[Run]) -> None:
        """Put machine frames under the guest frames that follow those there are."""
        for mfn, count in runs:
            self._p2m.append((self.nr_pages, mfn, count))
            self._ram.add(self.nr_pages, count)
            self.nr_pages += count

    def machine_frame(self, gfn: int) -> int | None:
        """p2m: the machine frame under a guest frame; None when the domain has no such frame."""
        index = bisect_right(self._p2m, gfn, key=lambda run: run[0]) - 1
        if index < 0:
            return None
        first, mfn, count = self._p2m[index]
        return mfn + gfn - first if gfn < first + count else None

    @property
    def unbacked(self) -> int:
        """Frames of plain RAM: what extents can still be made from."""
        return self._ram.total

    def carve(self, nr_pages: int) -> int:
        """Take consecutive frames out of plain RAM, from its top; returns the first.

        Raises: XenError: EINVAL bad count, ENOMEM no such run is left, ENOSPC too many extents.
        """
        if nr_pages < 1:
            raise XenError(EINVAL)
        if len(self.extents) >= MAX_EXTENTS:
            raise XenError(ENOSPC, f"{MAX_EXTENTS} extents is the limit")
        base = self._ram.take_high(nr_pages)
        if base is None:
            raise XenError(ENOMEM, f"no {nr_pages} consecutive pages in {self._ram.total}")
        return base

    def carve_around(self, gfn: int) -> Run:
        """Take the plain RAM in the chunk of *gfn* that is one run with it.

        Raises: XenError: EINVAL no plain RAM of this domain, ENOSPC too many extents.
        """
        run = self._ram.run_of(gfn)
        if run is None:
            raise XenError(EINVAL)
        if len(self.extents) >= MAX_EXTENTS:
            raise XenError(ENOSPC, f"{MAX_EXTENTS} extents is the limit")
        chunk = gfn - gfn % RAM_CHUNK_PAGES
        first = max(run[0], chunk)
        count = min(run[0] + run[1], chunk + RAM_CHUNK_PAGES) - first
        self._ram.remove(first, count)
        return first, count

    def uncarve(self, base: int, nr_pages: int) -> None:
        """Undo a carve that no extent was made of."""
        self._ram.add(base, nr_pages)

    def insert(self, extent: Extent) -> None:
        """An extent now backs frames that were carved for it."""
        self.extents[extent.id] = extent
        self._bases.insert(bisect_right(self._bases, extent.base_gfn), extent.base_gfn)
        self._by_base[extent.base_gfn] = extent

    def extent_at(self, gfn: int) -> Extent | None:
        """The extent that backs a guest frame; None for plain RAM and foreign numbers."""
        index = bisect_right(self._bases, gfn) - 1
        if index < 0:
            return None
        extent = self._by_base[self._bases[index]]
        return extent if gfn < extent.base_gfn + extent.nr_pages else None

    def remove(self, extent: Extent) -> None:
        """Give an extent's frames back to plain RAM and its bytes to the machine.

        Raises: XenError(EBUSY) while a peer maps a page.
        """
        if extent.pins:
            raise XenError(EBUSY)
        del self.extents[extent.id]
        self._bases.remove(extent.base_gfn)
        del self._by_base[extent.base_gfn]
        self._ram.add(extent.base_gfn, extent.nr_pages)
        extent.memory.close()

    def relinquish(self) -> list[Run]:
        """The domain dies: give up every frame that no peer maps; returns the machine frames.

        What is pinned stays, and is given up by a later call.
        """
        for extent in [extent for extent in self.extents.values() if not extent.pins]:
            self.remove(extent)
        freed: list[Run] = []
        kept: list[tuple[int, int, int]] = []
        for first, mfn, count in self._p2m:
            gfn = first
            while gfn < first + count:
                run = self._ram.run_of(gfn)
                if run is None:
                    pinned = self.extent_at(gfn)
                    assert pinned is not None, f"guest frame {gfn} is in no state"
                    part = min(first + count, pinned.base_gfn + pinned.nr_pages) - gfn
                    kept.append((gfn, mfn + gfn - first, part))
                else:
                    part = min(first + count, run[0] + run[1]) - gfn
                    self._ram.remove(gfn, part)
                    freed.append((mfn + gfn - first, part))
                gfn += part
        self._p2m = kept
        self.nr_pages = sum(count for _, _, count in kept)
        return freed
