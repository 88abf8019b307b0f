"""/dev/xen/gntalloc: a program makes pages and grants them to one other domain.

The pages of one call are one extent, since they are for one domain.  A page lives while it is
listed in a file or mapped, and goes when the peer has let go of it as well.

Source: Linux drivers/xen/gntalloc.c.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hvsim.abi import devices as abi
from hvsim.abi.memory import PAGE_MASK, PAGE_SHIFT, PAGE_SIZE
from hvsim.devnodes.gntdev import Notify
from hvsim.devnodes.node import GNTALLOC, Area, Ioctl, NodeFile, Result
from hvsim.devnodes.ports import Ports
from hvsim.domain.grants import GrantTableFull
from hvsim.domain.hypercall import HypercallError
from hvsim.domain.memory import Extent

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain

LIMIT: Final = 1024
"""Pages of one kernel: the default of Linux's module parameter."""
KCALLOC_MOST: Final = 1 << 20
"""References for which Linux's kcalloc finds memory (4 MiB); more are ENOMEM, fewer ENOSPC."""
_GREFS: Final = abi.GNTALLOC_ALLOC.offsets["gref_ids"]


@dataclass(slots=True, eq=False)
class Gref:
    """One granted page."""

    ref: int
    extent: Extent
    page: int
    listed: bool = True
    maps: int = 0
    notify: Notify = field(default_factory=Notify)


class GrefPool:
    """The granted pages of all files, and those among them that only a peer still maps."""

    def __init__(self, dom: Domain, ports: Ports) -> None:
        self._dom = dom
        self.ports = ports
        self._taken = 0
        self._lingering: list[Gref] = []
        self._left: dict[Extent, int] = {}

    def make(self, peer: int, write: bool, count: int) -> list[Gref]:
        """Raises OSError: ENOMEM, ENOSPC."""
        self.cleanup()
        if count > KCALLOC_MOST:
            raise OSError(errno.ENOMEM, f"{count} pages")
        if self._taken + count > LIMIT:
            raise OSError(errno.ENOSPC, f"gntalloc: {LIMIT} pages is the limit")
        if not count:
            return []
        extent = self._dom.memory.allocate(count, keep_fd=True)
        try:
            gfns = [extent.gfn(page) for page in range(count)]
            refs = self._dom.grants.grant_many(peer, gfns, not write)
        except GrantTableFull as full:
            self._dom.memory.free(extent)
            raise OSError(errno.ENOSPC, str(full)) from None
        self._left[extent] = count
        self._taken += count
        return [Gref(ref, extent, page) for page, ref in enumerate(refs)]

    def put(self, gref: Gref) -> None:
        """If nobody here wants a page any more: tell the peer, and take it back."""
        if gref.listed or gref.maps:
            return
        notify, gref.notify = gref.notify, Notify()
        if notify.action & abi.UNMAP_NOTIFY_CLEAR_BYTE:
            gref.extent.page(gref.page)[notify.address] = 0
        if notify.port is not None:
            self.ports.ring(notify.port)
            self.ports.let_go(notify.port)
        self._lingering.append(gref)

    def cleanup(self) -> None:
        """Take back what no peer maps any more."""
        waiting = {gref.ref: gref for gref in self._lingering}
        if not waiting:
            return
        used = self._dom.grants.end_access_many(waiting)
        self._lingering = [waiting.pop(ref) for ref in used]
        for gref in waiting.values():
            self._taken -= 1
            self._left[gref.extent] -= 1
            if not self._left[gref.extent]:
                del self._left[gref.extent]
                self._free(gref.extent)

    def _free(self, extent: Extent) -> None:
        try:
            self._dom.memory.free(extent)
        except HypercallError as error:
            self._dom.log(f"gntalloc: {error}")


class GntallocFile(NodeFile):
    """One open file of the node."""

    kind = GNTALLOC

    def __init__(self, dom: Domain, on_closed: Callable[[], None], pool: GrefPool) -> None:
        super().__init__(dom, on_closed)
        self._pool = pool
        self._grefs: dict[int, Gref] = {}
        self._next = 0
        self._commands: dict[int, Callable[[Ioctl], Result]] = {
            abi.IOCTL_GNTALLOC_ALLOC_GREF: self._alloc_gref,
            abi.IOCTL_GNTALLOC_DEALLOC_GREF: self._dealloc_gref,
            abi.IOCTL_GNTALLOC_SET_UNMAP_NOTIFY: self._set_notify,
        }

    def knows(self, command: int) -> bool:
        return command in self._commands

    def ioctl(self, call: Ioctl) -> Result:
        return self._commands[call.command](call)

    def _alloc_gref(self, call: Ioctl) -> Result:
        peer, flags, count, _, _ = abi.GNTALLOC_ALLOC.unpack(call.data)
        made = self._pool.make(peer, bool(flags & abi.GNTALLOC_FLAG_WRITABLE), count)
        offset = self._next
        refs = struct.pack(f"<{count}I", *(gref.ref for gref in made))
        try:
            call.caller.write(call.address + _GREFS, refs)
        except OSError:
            for gref in made:
                gref.listed = False
                self._pool.put(gref)
            self._pool.cleanup()
            raise
        for page, gref in enumerate(made):
            self._grefs[offset + page * PAGE_SIZE] = gref
        self._next += count * PAGE_SIZE
        return Result(out=abi.GNTALLOC_ALLOC.pack(peer, flags, count, offset, 0)[:_GREFS])

    def _dealloc_gref(self, call: Ioctl) -> Result:
        """Unlist pages; those that are mapped live on."""
        offset, count = abi.GNTALLOC_DEALLOC.unpack(call.data)
        found = self._find(offset, count)
        if found is None:
            raise OSError(errno.EINVAL, "no such pages")
        for page, gref in enumerate(found):
            del self._grefs[offset + page * PAGE_SIZE]
            gref.listed = False
            self._pool.put(gref)
        self._pool.cleanup()
        return Result()

    def _set_notify(self, call: Ioctl) -> Result:
        offset, action, port = abi.UNMAP_NOTIFY.unpack(call.data)
        gref = self._grefs.get(offset & ~PAGE_MASK)
        if gref is None:
            raise OSError(errno.ENOENT, "no such page")
        if action & ~(abi.UNMAP_NOTIFY_CLEAR_BYTE | abi.UNMAP_NOTIFY_SEND_EVENT):
            raise OSError(errno.EINVAL, f"actions {action:#x}")
        wants_event = bool(action & abi.UNMAP_NOTIFY_SEND_EVENT)
        if wants_event:
            self._pool.ports.hold(port)
        before = gref.notify.port
        gref.notify = Notify(offset & PAGE_MASK, action, port if wants_event else None)
        if before is not None:
            self._pool.ports.let_go(before)
        return Result()

    def mmap(self, address: int, offset: int, count: int, writable: bool) -> Area:
        found = self._find(offset, count)
        if found is None:
            raise OSError(errno.ENOENT, "no such pages")
        for gref in found:
            gref.maps += 1
        return GrefArea(self, address, found)

    def unmapped(self, grefs: list[Gref]) -> None:
        """An area with these pages is no more."""
        for gref in grefs:
            gref.maps -= 1
            self._pool.put(gref)
        self._pool.cleanup()

    def release(self) -> None:
        grefs, self._grefs = list(self._grefs.values()), {}
        for gref in grefs:
            gref.listed = False
            self._pool.put(gref)
        self._pool.cleanup()

    def _find(self, offset: int, count: int) -> list[Gref] | None:
        if not 0 < count <= LIMIT:
            return None
        found = [self._grefs.get(offset + (page << PAGE_SHIFT)) for page in range(count)]
        return None if None in found else [gref for gref in found if gref is not None]


class GrefArea(Area):
    """Pages of one's own in a process.  As in Linux they are kept until the whole area is gone."""

    def __init__(self, file: GntallocFile, address: int, grefs: list[Gref]) -> None:
        super().__init__(file, address, len(grefs))
        self._file = file
        self._grefs = grefs

    def place(self, index: int) -> tuple[int, int] | None:
        gref = self._grefs[index]
        return gref.extent.fd, gref.page * PAGE_SIZE

    def ended(self) -> None:
        self._file.unmapped(self._grefs)
