"""Grant tables: who may map what, who does, and for how long.

The granter writes entries into shared memory (version 1, 8 bytes each); an entry is copied once
and the copy is checked, for its owner may flip it at any moment. The hypervisor's own account
(*active* entries and map handles) is the truth about who maps: an owner that takes an entry back
learns from it, not from the shared flags, whether the access has ended.

Source: xen/grant_table.h; order of checks and texts follow Xen's common/grant_table.c.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hvsim.abi.grant_table import (
    MAX_ENTRIES_V1,
    MAX_FRAMES,
    GNTST_bad_gntref,
    GNTST_general_error,
    GTF_permit_access,
    GTF_reading,
    GTF_readonly,
    GTF_type_mask,
    GTF_writing,
)
from hvsim.hypervisor.host import Memory
from hvsim.hypervisor.memory import Extent

MAX_HANDLES: Final = 32768
"""Live mappings of one domain."""
_IN_USE: Final = GTF_reading | GTF_writing


class GrantRefused(Exception):
    """A grant operation ends with a status.

    Attributes:
        status: GNTST_*.
        text: for the ledger.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


@dataclass(slots=True, eq=False)
class Active:
    """An entry that is mapped: copied once at its first mapping, true until its last ends."""

    gfn: int
    peer: int
    extent: Extent
    readonly: bool
    readers: int = 0
    writers: int = 0

    @property
    def pins(self) -> int:
        """Live mappings."""
        return self.readers + self.writers


@dataclass(slots=True, eq=False)
class Mapping:
    """One live mapping: a handle of the mapping domain."""

    handle: int
    token: int
    owner: int
    ref: int
    active: Active
    readonly: bool


class Maptrack:
    """The handles of a mapping domain."""

    def __init__(self, limit: int = MAX_HANDLES) -> None:
        self.mappings: dict[int, Mapping] = {}
        self._limit = limit
        self._next = 0

    @property
    def full(self) -> bool:
        """Whether no handle is left."""
        return len(self.mappings) >= self._limit

    def take(self) -> int:
        """A handle that is not in use and was not for the longest time."""
        while True:
            handle = self._next
            self._next = (handle + 1) & 0x7FFFFFFF
            if handle not in self.mappings:
                return handle


class GrantTable:
    """The granter's side of one domain.

    Args:
        memory: the shared table, MAX_FRAMES frames, made at the first use.
    """

    def __init__(self) -> None:
        self.memory: Memory | None = None
        self.active: dict[int, Active] = {}
        self._view = memoryview(b"")
        # The same bytes as 16-bit halves and as whole entries: items of these are loaded and
        # stored in one piece, so an entry that its owner is changing is never read half old.
        self._halves = self._view
        self._entries = self._view

    def attach(self, memory: Memory) -> None:
        """The shared table now exists."""
        self.memory = memory
        self._view = memory.view()
        self._halves = self._view.cast("H")
        self._entries = self._view.cast("Q")

    def detach(self) -> Memory | None:
        """The domain dies: let go of the shared table; its memory is the caller's to close."""
        memory, self.memory = self.memory, None
        self._halves.release()
        self._entries.release()
        self._halves = self._entries = self._view = memoryview(b"")
        return memory

    @property
    def nr_frames(self) -> int:
        """Frames in use (0 before the table was set up)."""
        return MAX_FRAMES if self.memory is not None else 0

    def seed(self, ref: int, remote: int, gfn: int, readonly: bool = False) -> None:
        """Write an entry on behalf of the owner, as the domain builder does."""
        flags = GTF_permit_access | (GTF_readonly if readonly else 0)
        self._entries[ref] = flags | remote << 16 | gfn << 32

    def check(self, ref: int, peer: int, write: bool) -> tuple[int, bool]:
        """Whether *peer* may have *ref*: (frame, whether the entry is read-only).

        Raises: GrantRefused with GNTST_bad_gntref or GNTST_general_error.
        """
        if self.memory is None or not 0 <= ref < MAX_ENTRIES_V1:
            raise GrantRefused(GNTST_bad_gntref, f"bad ref {ref:#x}")
        flags, domid, gfn = self._copy(ref)
        if flags & GTF_type_mask != GTF_permit_access or domid != peer:
            raise GrantRefused(
                GNTST_general_error,
                f"bad flags ({flags:#x}) or dom ({domid}); expected d{peer}",
            )
        readonly = bool(flags & GTF_readonly)
        if write and readonly:
            raise GrantRefused(
                GNTST_general_error, f"attempt to write-pin a r/o grant entry {ref:#x}"
            )
        return gfn, readonly

    def entry(self, ref: int) -> tuple[int, int, int] | None:
        """(flags, domid, frame) of an entry as it is now; None before the table was set up."""
        return self._copy(ref) if self.memory is not None else None

    def frame(self, ref: int) -> int | None:
        """The frame that an entry grants to anybody; None when it grants none."""
        if self.memory is None or not 0 <= ref < MAX_ENTRIES_V1:
            return None
        flags, _, gfn = self._copy(ref)
        return gfn if flags & GTF_type_mask == GTF_permit_access else None

    def _copy(self, ref: int) -> tuple[int, int, int]:
        """(flags, domid, frame) of an entry, all of the same moment (struct grant_entry_v1)."""
        entry = self._entries[ref]
        return entry & 0xFFFF, entry >> 16 & 0xFFFF, entry >> 32

    def pin(self, ref: int, active: Active, readonly: bool) -> None:
        """Count one mapping more, and show it in the shared flags."""
        self.active[ref] = active
        active.extent.pins += 1
        if readonly:
            active.readers += 1
        else:
            active.writers += 1
        self._halves[ref * 4] |= GTF_reading if readonly else _IN_USE

    def unpin(self, ref: int, readonly: bool) -> Active:
        """Count one mapping less."""
        active = self.active[ref]
        active.extent.pins -= 1
        if readonly:
            active.readers -= 1
        else:
            active.writers -= 1
        if not active.pins:
            del self.active[ref]
        if self.memory is not None:
            flags = self._halves[ref * 4]
            if not active.writers:
                flags &= ~GTF_writing
            if not active.pins:
                flags &= ~GTF_reading
            self._halves[ref * 4] = flags
        return active

    def end_access(self, ref: int) -> int:
        """The owner has taken *ref* back and asks how often it is still mapped.

        The entry is cleared here once more. Real Xen sets its in-use flags with a compare and
        exchange; a plain store of ours could have overwritten the owner's flags = 0 with the
        permission it had just read. This call comes after the owner's store and no store of ours
        can lie between, so from here on the permission is gone for certain.

        Raises: GrantRefused(GNTST_bad_gntref).
        """
        if self.memory is None or not 0 <= ref < MAX_ENTRIES_V1:
            raise GrantRefused(GNTST_bad_gntref, f"bad ref {ref:#x}")
        active = self.active.get(ref)
        if active is None:
            if self._halves[ref * 4]:
                self._halves[ref * 4] = 0
            return 0
        self._halves[ref * 4] = _IN_USE if active.writers else GTF_reading
        return active.pins

    def revoke(self, first: int, count: int, orphaned: Callable[[int], bool]) -> int:
        """Clear those of *count* entries from *first* that name an orphaned frame; returns how many
        entries there are behind them.

        For frames whose process has gone: nobody is left to take the entries back.
        """
        if self.memory is None:
            return 0
        last = min(first + count, MAX_ENTRIES_V1)
        for ref, entry in enumerate(self._entries[first:last].tolist(), first):
            if entry & GTF_type_mask and orphaned(entry >> 32):
                self._halves[ref * 4] &= _IN_USE
        return MAX_ENTRIES_V1 - last
