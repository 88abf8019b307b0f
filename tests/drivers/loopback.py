"""Both halves of the block driver in one process, over one page: no store, no hypervisor.

For the rules of the ring protocol, which are pure.  What needs a handshake, a death or another
process is tested on the real hypervisor.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from hvsim.abi.grant_table import GNTST_bad_gntref, GNTST_permission_denied
from hvsim.domain.grants import GrantInUse
from hvsim.domain.mapper import GrantError, GrantMapper
from hvsim.domain.ring import BackRing, FrontRing
from hvsim.drivers.block.image import Image
from hvsim.drivers.block.queue import RequestQueue
from hvsim.drivers.block.service import Service
from hvsim.drivers.split.pages import PeerPages
from hvsim.drivers.split.pool import PagePool

PAGE = 4096


class Frames:
    """Pages of a domain, as an extent."""

    def __init__(self, nr_pages: int, base: int) -> None:
        self.nr_pages = nr_pages
        self.base = base
        self.memory = mmap.mmap(-1, nr_pages * PAGE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))

    def page(self, index: int) -> memoryview:
        return memoryview(self.memory)[index * PAGE : (index + 1) * PAGE]

    def gfn(self, index: int) -> int:
        return self.base + index


class Mapped:
    """A mapped page."""

    def __init__(self, ref: int, view: memoryview, address: int) -> None:
        self.ref = ref
        self.view = view
        self.address = address


class Table:
    """Grant table and mapper in one: who granted what, who maps what."""

    def __init__(self) -> None:
        self.frames: list[Frames] = []
        self.granted: dict[int, tuple[int, bool]] = {}
        self.pins: dict[int, int] = {}
        self.next_ref = 8
        self.map_calls = 0
        self.fail_map_at = 0

    # the granting side

    def grant(self, domid: int, gfn: int, readonly: bool = False) -> int:
        ref = self.next_ref
        self.next_ref += 1
        self.granted[ref] = (gfn, readonly)
        return ref

    def end_access(self, ref: int) -> None:
        if self.pins.get(ref):
            raise GrantInUse(ref, self.pins[ref])
        del self.granted[ref]

    # the mapping side

    def map_many(self, domid: int, refs: Sequence[int], readonly: bool = False) -> list[Mapped]:
        self.map_calls += 1
        if self.map_calls == self.fail_map_at:
            raise GrantError(GNTST_bad_gntref, "map refused by the test")
        pages = []
        for ref in refs:
            if ref not in self.granted:
                raise GrantError(GNTST_bad_gntref, f"grant {ref}")
            gfn, granted_readonly = self.granted[ref]
            if granted_readonly and not readonly:
                raise GrantError(GNTST_permission_denied, f"grant {ref}")
            frames = next(f for f in self.frames if 0 <= gfn - f.base < f.nr_pages)
            index = gfn - frames.base
            view = frames.page(index)
            address = frames.address + index * PAGE
            pages.append(Mapped(ref, view.toreadonly() if readonly else view, address))
        for page in pages:
            self.pins[page.ref] = self.pins.get(page.ref, 0) + 1
        return pages

    def unmap_many(self, mappings: Iterable[Mapped]) -> None:
        for page in mappings:
            self.pins[page.ref] -= 1


class Loopback:
    """A frontend queue and a backend service that share a ring."""

    def __init__(
        self,
        path: Path,
        *,
        sectors: int = 2048,
        readonly: bool = False,
        persistent: bool = True,
        order: int = 0,
        max_segments: int = 32,
        queue: RequestQueue | None = None,
        image: Callable[[str, bool], Image] = Image,
        rings: tuple[Any, Any] = (FrontRing, BackRing),
        pool_pages: int = 384,
        spins: bool = True,
    ) -> None:
        if not path.exists():
            path.write_bytes(bytes(sectors * 512))
        self.table = Table()
        self.page = Frames(1 << order, 1)
        self.front_ring = rings[0](memoryview(self.page.memory), 112, 16)
        self.back_ring = rings[1](memoryview(self.page.memory), 112, 16)
        pools = [Frames(pool_pages, 1000), Frames(pool_pages, 5000)]
        self.table.frames = pools
        read_pool = PagePool(pools[0], self.table, 0, persistent=persistent)
        write_pool = read_pool if persistent else PagePool(pools[1], self.table, 0, readonly=True)
        self.pools = (read_pool, write_pool)
        self.queue = queue or RequestQueue()
        self.queue.attach(
            self.front_ring, read_pool, write_pool, max_segments=max_segments, handle=51712 & 0xFFFF
        )
        self.image = image(str(path), readonly)
        self.pages = PeerPages(
            cast(GrantMapper, self.table), 0, persistent=persistent, capacity=1056, by_use=True
        )
        self.log: list[str] = []
        self.service = Service(self.back_ring, self.pages, self.image, self.log.append, spins=spins)
        self.bells = 0

    def ring_bell(self) -> None:
        self.bells += 1

    def back(self, limit: int = 1 << 30) -> bool:
        """The backend's turn."""
        while limit > 0:
            count, notify = self.service.batch()
            if notify:
                self.ring_bell()
            limit -= count
            if not self.service.goes_on(count):
                return False
        return True

    def pump(self) -> None:
        """Let both halves run until nothing moves."""
        self.queue.start()
        for _ in range(1000):
            self.back()
            self.queue.complete()
            if not self.queue.unanswered:
                return
        raise AssertionError("the halves do not come to rest")

    def close(self) -> None:
        self.pages.close()
        self.image.close()
