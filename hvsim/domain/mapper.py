"""The mapping side: pages that other domains granted to this one.

The first mapping out of an extent brings a descriptor of that extent, which is mapped here once
and cut into pages; the last one to go takes both away *before* the hypervisor is told, so that a
frame is never reported free while this process could still reach it.

Read-only extents arrive sealed (``F_SEAL_FUTURE_WRITE``): the kernel refuses a writable mapping.

Source: xen/grant_table.h.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from hvsim.abi.grant_table import (
    GNTST_NAMES,
    GNTMAP_host_map,
    GNTMAP_readonly,
    GNTST_okay,
    GNTTABOP_copy,
    GNTTABOP_map_grant_ref,
    GNTTABOP_unmap_grant_ref,
    status_text,
)
from hvsim.abi.hypercall import HYPERVISOR_grant_table_op
from hvsim.abi.memory import PAGE_SIZE
from hvsim.domain.hypercall import Hypercalls
from hvsim.domain.shm import SharedPages
from hvsim.wire.typed import read

_OP: Final = HYPERVISOR_grant_table_op
MAX_BATCH: Final = 512
"""Grants per hypercall that the hypervisor takes; longer lists are split."""
MAX_MAP_BATCH: Final = 32
"""The same for mapping: each grant may bring a descriptor, and one call brings no more."""


class GrantError(Exception):
    """A grant operation was refused.

    Attributes:
        status: GNTST_* (negative).
        where: which operation on what, in words.
        ref: the grant reference that was refused; -1 when it was about none.
    """

    def __init__(self, status: int, where: str, ref: int = -1) -> None:
        name = GNTST_NAMES.get(status, "unknown status")
        super().__init__(f"{where}: {status_text(status)} ({name} {status})")
        self.status = status
        self.where = where
        self.ref = ref


class Mapped(NamedTuple):
    """The answer to a call that maps: status, handle, extent and page of each reference; number,
    pages and writable of the extents that are new."""

    rows: list[tuple[int, int, int, int]]
    extents: list[tuple[int, int, bool]]


class _MappedExtent:
    """An extent of a peer, mapped here as a whole, with the number of live mappings of it."""

    __slots__ = ("fd", "key", "live", "nr_pages", "pages", "writable")

    def __init__(self, key: int, fd: int, nr_pages: int, writable: bool) -> None:
        self.key = key
        self.fd = fd
        self.nr_pages = nr_pages
        self.writable = writable
        self.live = 0
        self.pages = SharedPages([(fd, 0, nr_pages)], writable)

    def close(self) -> None:
        self.pages.close()
        os.close(self.fd)


class Mapping:
    """Granted pages, mapped here until :meth:`unmap`.

    Attributes:
        domid: who granted them.
        refs: the grant references, in the order of the pages.
        nr_pages: how many pages.
    """

    __slots__ = ("_address", "_extents", "_handles", "_mapper", "_own", "_view", "domid", "refs")

    def __init__(
        self,
        mapper: GrantMapper,
        domid: int,
        refs: tuple[int, ...],
        handles: list[int],
        extents: list[_MappedExtent],
    ) -> None:
        self.domid = domid
        self.refs = refs
        self._mapper = mapper
        self._handles = handles
        self._extents = extents
        self._own: SharedPages | None = None
        self._view: memoryview | None = None
        self._address = 0

    def __repr__(self) -> str:
        state = "unmapped" if self._view is None else f"at {self._address:#x}"
        return f"<Mapping d{self.domid} refs {list(self.refs)} {state}>"

    @property
    def nr_pages(self) -> int:
        """How many pages the view shows."""
        return len(self.refs)

    @property
    def view(self) -> memoryview:
        """The bytes; read-only for a read-only mapping.

        Raises: ValueError after unmap.  A view fetched before raises ValueError itself then.
        """
        if self._view is None:
            raise ValueError(f"grant {self.refs[0]} of d{self.domid} is unmapped")
        return self._view

    @property
    def address(self) -> int:
        """Where the first byte lies, for scatter-gather I/O.  Raises ValueError after unmap."""
        if self._view is None:
            raise ValueError(f"grant {self.refs[0]} of d{self.domid} is unmapped")
        return self._address

    @property
    def backing(self) -> tuple[int, int]:
        """Descriptor of the extent and byte offset in it of the first page, for who maps it once
        more; the descriptor stays the mapper's.  Raises ValueError after unmap."""
        if self._view is None:
            raise ValueError(f"grant {self.refs[0]} of d{self.domid} is unmapped")
        extent = self._extents[0]
        return extent.fd, self._address - extent.pages.address

    @property
    def live(self) -> bool:
        """False once unmapped."""
        return self._view is not None

    def unmap(self) -> None:
        """End the mapping; a later touch raises ValueError.  Idempotent.

        Raises: GrantError when the hypervisor does not know the mapping (a bug).
        """
        self._mapper.unmap_many([self])


class GrantMapper:
    """Maps pages that peers granted to this domain."""

    def __init__(self, hypercalls: Hypercalls) -> None:
        self._hypercalls = hypercalls
        self._extents: dict[int, _MappedExtent] = {}
        self._live = 0

    @property
    def live_pages(self) -> int:
        """How many grants are mapped now."""
        return self._live

    @property
    def live_extents(self) -> int:
        """How many extents of peers this process holds a descriptor of."""
        return len(self._extents)

    def map(self, domid: int, ref: int, readonly: bool = False) -> Mapping:
        """Map one granted page.

        Raises: GrantError with the hypervisor's status; OSError when the page cannot be mapped.
        """
        return self.map_many(domid, (ref,), readonly)[0]

    def map_many(self, domid: int, refs: Sequence[int], readonly: bool = False) -> list[Mapping]:
        """Map several pages, one mapping for each; all or none.  Raises as :meth:`map`."""
        rows = self._map_rows(domid, refs, readonly)
        mappings = []
        for ref, (handle, extent, page) in zip(refs, rows, strict=True):
            mapping = Mapping(self, domid, (ref,), [handle], [extent])
            start = page * PAGE_SIZE
            view = extent.pages.view[start : start + PAGE_SIZE]
            mapping._view = view.toreadonly() if readonly else view
            mapping._address = extent.pages.address + start
            mappings.append(mapping)
        return mappings

    def map_contiguous(self, domid: int, refs: Sequence[int], readonly: bool = False) -> Mapping:
        """Map several pages as one: the view shows them side by side, whatever frames they are.

        For rings of more than one page.  Raises as :meth:`map`; ValueError for no reference.
        """
        if not refs:
            raise ValueError("no grant reference")
        rows = self._map_rows(domid, refs, readonly)
        handles = [handle for handle, _, _ in rows]
        extents = [extent for _, extent, _ in rows]
        mapping = Mapping(self, domid, tuple(refs), handles, extents)
        first, page = rows[0][1], rows[0][2]
        if all(row[1] is first and row[2] == page + i for i, row in enumerate(rows)):
            start = page * PAGE_SIZE
            view = first.pages.view[start : start + len(refs) * PAGE_SIZE]
            mapping._address = first.pages.address + start
        else:
            try:
                own = SharedPages(
                    [(extent.fd, page, 1) for _, extent, page in rows],
                    not readonly and all(extent.writable for extent in extents),
                )
            except OSError:
                self._unmap_rows(handles, extents)
                raise
            mapping._own = own
            mapping._address = own.address
            view = own.view
        mapping._view = view.toreadonly() if readonly else view
        return mapping

    def unmap_many(self, mappings: Iterable[Mapping]) -> None:
        """End several mappings in one go.  Those that have ended already are skipped.

        Raises: GrantError as :meth:`Mapping.unmap`, after all of them have ended here.
        """
        handles: list[int] = []
        extents: list[_MappedExtent] = []
        for mapping in mappings:
            view, mapping._view = mapping._view, None
            if view is None:
                continue
            view.release()
            if mapping._own is not None:
                mapping._own.close()
                mapping._own = None
            handles += mapping._handles
            extents += mapping._extents
            mapping._handles, mapping._extents = [], []
        if handles:
            self._unmap_rows(handles, extents)

    def copy(self, operations: Sequence[Sequence[int | bool]]) -> list[int]:
        """Let the hypervisor copy between frames; returns a GNTST_* status for each operation.

        An operation is (source domid, source is a reference, source reference or frame, offset,
        destination domid, destination is a reference, reference or frame, offset, length).
        """
        statuses: list[int] = []
        for start in range(0, len(operations), MAX_BATCH):
            batch = [list(operation) for operation in operations[start : start + MAX_BATCH]]
            statuses += self._hypercalls.ask(list[int], _OP, GNTTABOP_copy, batch)
        return statuses

    def close(self) -> None:
        """Let go of every extent without telling the hypervisor; it sees the process go.

        Mappings that are still held show zeros from then on.
        """
        for extent in self._extents.values():
            extent.close()
        self._extents.clear()

    # -- inside ----------------------------------------------------------------------------

    def _map_rows(
        self, domid: int, refs: Sequence[int], readonly: bool
    ) -> list[tuple[int, _MappedExtent, int]]:
        """(handle, extent, page) of every reference; all or none."""
        flags = GNTMAP_host_map | (GNTMAP_readonly if readonly else 0)
        rows: list[tuple[int, _MappedExtent, int]] = []
        failed: tuple[int, int] | None = None
        try:
            for start in range(0, len(refs), MAX_MAP_BATCH):
                batch = refs[start : start + MAX_MAP_BATCH]
                request = [[flags, ref, domid] for ref in batch]
                results, fds = self._hypercalls.call_fds(_OP, GNTTABOP_map_grant_ref, request)
                told, extents = read(Mapped, results)
                try:
                    self._adopt(extents, fds)
                except OSError:
                    self._abandon(row[1] for row in told if row[0] == GNTST_okay)
                    raise
                for ref, (status, handle, extent_id, page) in zip(batch, told, strict=True):
                    if status == GNTST_okay:
                        extent = self._extents[extent_id]
                        extent.live += 1
                        self._live += 1
                        rows.append((handle, extent, page))
                    elif failed is None:
                        failed = (status, ref)
                if failed is not None:
                    break
        except OSError:
            self._unmap_rows([row[0] for row in rows], [row[1] for row in rows])
            raise
        if failed is not None:
            self._unmap_rows([row[0] for row in rows], [row[1] for row in rows])
            raise GrantError(failed[0], f"mapping grant {failed[1]} of d{domid}", failed[1])
        return rows

    def _adopt(self, new: list[tuple[int, int, bool]], fds: list[int]) -> None:
        """Map the extents whose descriptors have come."""
        position = 0
        try:
            for extent_id, nr_pages, writable in new:
                fd = fds[position]
                extent = _MappedExtent(extent_id, fd, nr_pages, bool(writable))
                position += 1
                self._extents[extent_id] = extent
        finally:
            for fd in fds[position:]:
                os.close(fd)

    def _abandon(self, handles: Iterable[int]) -> None:
        """A call succeeded there but not here (no descriptor or address space is left)."""
        for extent in [extent for extent in self._extents.values() if not extent.live]:
            del self._extents[extent.key]
            extent.close()
        self._hypercalls.call(_OP, GNTTABOP_unmap_grant_ref, list(handles))

    def _unmap_rows(self, handles: list[int], extents: list[_MappedExtent]) -> None:
        """Tell the hypervisor; extents without a live mapping are let go of first."""
        for extent in extents:
            extent.live -= 1
            self._live -= 1
            if not extent.live:
                del self._extents[extent.key]
                extent.close()
        statuses: list[int] = []
        for start in range(0, len(handles), MAX_BATCH):
            batch = handles[start : start + MAX_BATCH]
            statuses += self._hypercalls.ask(list[int], _OP, GNTTABOP_unmap_grant_ref, batch)
        for handle, status in zip(handles, statuses, strict=True):
            if status != GNTST_okay:
                raise GrantError(status, f"unmapping handle {handle}")
