"""A domain's memory: what its guest frames are, and the extents that hold the bytes.

Guest frames ``0 .. nr_pages`` map to machine frames (``p2m``). A guest frame is in one of three
states, and so the host memory a domain can touch never exceeds what it was lent:

    plain RAM        accounted, not backed: no byte of it exists yet
    in a RAM extent  backed by a memfd that only this domain ever holds
    in a grant extent  backed by a memfd that is shared with at most one peer for its whole life

A descriptor cannot be taken back.  So an extent that is given up *leaves*: it can be granted no
more, and its frames become plain RAM again when the kernel says that nobody holds it
(``reclaim``).  A domain that keeps the descriptor of what it has freed keeps its own RAM used.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

from hvsim.abi.errno import EBUSY, EINVAL, ENOMEM, ENOSPC
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.heap import Run, Runs
from hvsim.hypervisor.host import Memory
from hvsim.hypervisor.names import Names
from hvsim.hypervisor.p2m import P2M
from hvsim.hypervisor.work import SMALL

MAX_EXTENTS: Final = 1024
"""Extents of one domain: each costs the hypervisor a descriptor."""
MAX_SEALED_PAGES: Final = 512
"""Pages of an extent that may be shared read-only: nobody can punch holes into what is sealed, so
its pages are freed all at once."""
MAX_VIEWS: Final = 32
"""Extents of one domain that are shared read-only and yet can be copied into: the hypervisor maps
each of them, and has so many mappings for all domains together (vm.max_map_count)."""
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
        orphan: its process has gone; it leaves with its last pin, and nobody maps it any more.
        leaving: it was given up.
        mapped: it is mapped here, so that it can be written to though it is sealed.
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
    leaving: bool = False
    mapped: bool = False


class DomainMemory:
    """The frames and extents of one domain.

    Args:
        names: told which domains extents are shared with.

    Attributes:
        extents: those that are in use.
        leaving: those that were given up, and that somebody may still hold.
        ram: guest frames that are in no extent.
    """

    def __init__(self, domid: int, names: Names) -> None:
        self.domid = domid
        self.extents: dict[int, Extent] = {}
        self.leaving: dict[int, Extent] = {}
        self._names = names
        self._views = 0
        self.ram = Runs()
        self._p2m = P2M()
        self._bases: list[int] = []
        self._by_base: dict[int, Extent] = {}

    @property
    def nr_pages(self) -> int:
        """Frames that it was lent."""
        return self._p2m.total

    def populate(self, runs: list[Run]) -> None:
        """Put machine frames under the guest frames that follow those there are."""
        gfn = self._p2m.end
        self._p2m.populate(gfn, runs)
        self.ram.add(gfn, self._p2m.end - gfn)

    def machine_frame(self, gfn: int) -> int | None:
        """The machine frame under a guest frame; None when the domain has no such frame."""
        return self._p2m.frame(gfn)

    @property
    def unbacked(self) -> int:
        """Frames of plain RAM: what extents can still be made from."""
        return self.ram.total

    def carve(self, nr_pages: int) -> int:
        """Take consecutive frames out of plain RAM, from its top; returns the first.

        Raises: XenError: EINVAL bad count, ENOMEM no such run is left, ENOSPC too many extents.
        """
        if nr_pages < 1:
            raise XenError(EINVAL)
        self._check_room()
        base = self.ram.take_high(nr_pages)
        if base is None:
            raise XenError(ENOMEM, f"no {nr_pages} consecutive pages in {self.ram.total}")
        return base

    def carve_around(self, gfn: int) -> Run:
        """Take the plain RAM in the chunk of *gfn* that is one run with it.

        Raises: XenError: EINVAL no plain RAM of this domain, ENOSPC too many extents.
        """
        run = self.ram.run_of(gfn)
        if run is None:
            raise XenError(EINVAL)
        self._check_room()
        chunk = gfn - gfn % RAM_CHUNK_PAGES
        first = max(run[0], chunk)
        count = min(run[0] + run[1], chunk + RAM_CHUNK_PAGES) - first
        self.ram.remove(first, count)
        return first, count

    def uncarve(self, base: int, nr_pages: int) -> None:
        """Undo a carve that no extent was made of."""
        self.ram.add(base, nr_pages)

    def insert(self, extent: Extent) -> None:
        """An extent now backs frames that were carved for it."""
        self.extents[extent.id] = extent
        self._bases.insert(bisect_right(self._bases, extent.base_gfn), extent.base_gfn)
        self._by_base[extent.base_gfn] = extent

    def extent_at(self, gfn: int) -> Extent | None:
        """The extent that backs a guest frame; None for plain RAM, for what was given up, and for
        foreign numbers."""
        extent = self._backing(gfn)
        return None if extent is None or extent.leaving else extent

    def share(self, extent: Extent, peer: int, readonly: bool) -> str:
        """Fix for good whom an extent is shared with, and how; "" or why it cannot be."""
        if readonly and extent.nr_pages > MAX_SEALED_PAGES:
            return f"extent {extent.id} has more than the {MAX_SEALED_PAGES} pages that may be so"
        if readonly and self._views < MAX_VIEWS:
            try:
                extent.memory.view()  # before the seal, which refuses it for ever
            except OSError:
                return f"extent {extent.id} was sealed by its owner: cannot be shared"
            extent.mapped = True
            self._views += 1
        if not extent.memory.seal(readonly):
            return f"extent {extent.id} was sealed by its owner: cannot be shared"
        extent.peer = peer
        extent.writable = not readonly
        self._names.hold(peer)
        return ""

    def give_up(self, extent: Extent) -> None:
        """Its frames are nobody's from now on, until :meth:`reclaimed`.

        Raises: XenError(EBUSY) while a peer maps a page.
        """
        if extent.pins:
            raise XenError(EBUSY)
        del self.extents[extent.id]
        self.leaving[extent.id] = extent
        extent.leaving = True

    def reclaimed(self, extent: Extent) -> None:
        """Nobody holds an extent that was given up: its frames are plain RAM again."""
        del self.leaving[extent.id]
        del self._bases[bisect_left(self._bases, extent.base_gfn)]
        del self._by_base[extent.base_gfn]
        self.ram.add(extent.base_gfn, extent.nr_pages)
        self._views -= extent.mapped
        if extent.peer is not None:
            self._names.drop(extent.peer)

    def relinquish(self) -> Generator[None, None, list[Run]]:
        """The domain is dead: give up every frame of plain RAM; returns the machine frames.

        What extents hold stays, and is given up by a later call. A job (``work``).
        """
        freed: list[Run] = []
        steps = 0
        for first, count in list(self.ram):  # of a dead domain it only grows meanwhile
            gfn = first
            while gfn < first + count:
                steps += 1
                if steps % SMALL == 0:
                    yield
                part = min(self._p2m.consecutive(gfn), first + count - gfn)
                assert part, f"guest frame {gfn} is in no state"
                self.ram.remove(gfn, part)
                freed += self._p2m.decrease(gfn, part)
                gfn += part
        return freed

    def _backing(self, gfn: int) -> Extent | None:
        index = bisect_right(self._bases, gfn) - 1
        if index < 0:
            return None
        extent = self._by_base[self._bases[index]]
        return extent if gfn < extent.base_gfn + extent.nr_pages else None

    def _check_room(self) -> None:
        if len(self.extents) + len(self.leaving) >= MAX_EXTENTS:
            raise XenError(ENOSPC, f"{MAX_EXTENTS} extents is the limit")
