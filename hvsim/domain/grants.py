"""The granting side: this domain's grant table.

The table is shared memory, as in Xen: granting is a store, no hypercall.  The hypervisor reads an
entry when the peer maps it and keeps count of the mappings itself; it alone knows when an access
has ended, so ending one is: take the permission back, then ask.

Source: xen/grant_table.h; the order of stores is that of Linux ``gnttab_grant_foreign_access``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Final

from hvsim.abi.grant_table import (
    GNTTAB_NR_RESERVED_ENTRIES,
    GRANT_ENTRY_V1,
    MAX_ENTRIES_V1,
    GNTTABOP_setup_table,
    GTF_permit_access,
    GTF_readonly,
)
from hvsim.abi.hypercall import (
    DOMID_SELF,
    HVSIM_GNTTAB_in_use,
    HYPERVISOR_grant_table_op,
)
from hvsim.abi.memory import PAGE_SIZE
from hvsim.domain.hypercall import Hypercalls
from hvsim.domain.shm import SharedPages
from hvsim.wire.typed import read

_ENTRY_SIZE: Final = GRANT_ENTRY_V1.size
_SLOTS_FROM: Final = MAX_ENTRIES_V1 // 2
SLOT_ENTRIES: Final = 256
SLOTS: Final = (MAX_ENTRIES_V1 - _SLOTS_FROM) // SLOT_ENTRIES
"""Windows of references for further processes of a domain, which has one table."""
_REFS_PER_CALL: Final = 4096


class GrantInUse(Exception):
    """An access was not ended because the peer still maps the page.

    The permission is taken back already (the peer cannot map again); the reference stays taken
    until a later ``end_access`` finds the page free.

    Attributes:
        ref: the grant reference.
        pins: how many mappings there are.
    """

    def __init__(self, ref: int, pins: int) -> None:
        super().__init__(f"grant {ref} is mapped {pins} time(s) by the peer")
        self.ref = ref
        self.pins = pins


class GrantTableFull(Exception):
    """No grant reference is free."""


class GrantTable:
    """The domain's grant table.  The table is mapped at the first grant.

    Args:
        slot: which window of references this process gives out, 0 to SLOTS - 1; None for the
            domain's main process, whose window is the lower half.

    Attributes:
        taken: the references that are given out, reserved ones not counted.
    """

    def __init__(self, hypercalls: Hypercalls, slot: int | None = None) -> None:
        self._hypercalls = hypercalls
        self._pages: SharedPages | None = None
        # The same bytes as 16-bit and as 32-bit words: an item assignment to a native view is one
        # store, which the peer's hypervisor sees whole.
        self._halves = memoryview(b"").cast("H")
        self._words = memoryview(b"").cast("I")
        self._last = _SLOTS_FROM
        self._next = GNTTAB_NR_RESERVED_ENTRIES
        if slot is not None:
            self._next = _SLOTS_FROM + slot % SLOTS * SLOT_ENTRIES
            self._last = self._next + SLOT_ENTRIES
        self._free: list[int] = []
        self.taken: set[int] = set()

    def grant(self, domid: int, gfn: int, readonly: bool = False) -> int:
        """Let domain *domid* map own frame *gfn*; returns the grant reference.

        Raises: GrantTableFull; HypercallError when the table cannot be set up.
        """
        ref = self._take()
        self._enter(ref, domid, gfn, readonly)
        return ref

    def grant_many(self, domid: int, gfns: Sequence[int], readonly: bool = False) -> list[int]:
        """Grant several frames; all or none.  Raises as :meth:`grant`."""
        refs: list[int] = []
        try:
            for _ in gfns:
                refs.append(self._take())
        except GrantTableFull:
            for ref in refs:
                self._release(ref)
            raise
        for ref, gfn in zip(refs, gfns, strict=True):
            self._enter(ref, domid, gfn, readonly)
        return refs

    def end_access(self, ref: int) -> None:
        """End the peer's access to *ref* and free the reference.

        Raises: GrantInUse while the peer maps the page; ValueError for a reference that is not
            granted.
        """
        pins = self._revoke([ref])[0]
        if pins:
            raise GrantInUse(ref, pins)

    def end_access_many(self, refs: Iterable[int]) -> list[int]:
        """End several accesses; returns those that are still in use (see GrantInUse).

        Raises: ValueError for a reference that is not granted; nothing is ended then.
        """
        wanted = list(refs)
        return [ref for ref, pins in zip(wanted, self._revoke(wanted), strict=True) if pins]

    @property
    def in_use(self) -> int:
        """How many references are taken, reserved ones not counted."""
        return len(self.taken)

    def close(self) -> None:
        """Unmap the table without ending any access; the hypervisor sees the process go."""
        if self._pages is not None:
            self._halves.release()
            self._words.release()
            self._pages.close()

    # -- inside ------------------------------------------------------------------------------

    def _setup(self) -> None:
        results, fds = self._hypercalls.call_fds(
            HYPERVISOR_grant_table_op, GNTTABOP_setup_table, DOMID_SELF
        )
        try:
            (nr_entries,) = read(tuple[int], results)
            self._pages = SharedPages([(fds[0], 0, nr_entries * _ENTRY_SIZE // PAGE_SIZE)])
        finally:
            for fd in fds:
                os.close(fd)
        self._halves = self._pages.view.cast("H")
        self._words = self._pages.view.cast("I")
        self._last = min(self._last, nr_entries)

    def _take(self) -> int:
        if self._pages is None:
            self._setup()
        if self._free:
            ref = self._free.pop()
        elif self._next < self._last:
            ref = self._next
            self._next += 1
        else:
            raise GrantTableFull(f"all grant references up to {self._last - 1} are taken")
        self.taken.add(ref)
        return ref

    def _enter(self, ref: int, domid: int, gfn: int, readonly: bool) -> None:
        """Frame and domid first, flags last: the entry is valid from the last store on.

        On x86 stores are seen in order; elsewhere the barrier is the system call that tells the
        peer of the reference (ring notify or store write), without which it cannot use it.
        """
        self._words[ref * 2 + 1] = gfn
        self._halves[ref * 4 + 1] = domid
        self._halves[ref * 4] = GTF_permit_access | (GTF_readonly if readonly else 0)

    def _revoke(self, refs: Sequence[int]) -> list[int]:
        for ref in refs:
            if ref not in self.taken:
                raise ValueError(f"grant reference {ref} is not granted")
        if len(set(refs)) != len(refs):
            raise ValueError("a grant reference is named twice")
        for ref in refs:
            self._halves[ref * 4] = 0
        # The hypervisor looks at its own counts after these stores: the call's system call is a
        # barrier, so a mapping is either counted already or will find flags = 0.
        pins: list[int] = []
        for start in range(0, len(refs), _REFS_PER_CALL):
            batch = refs[start : start + _REFS_PER_CALL]
            pins += self._hypercalls.ask(
                list[int], HYPERVISOR_grant_table_op, HVSIM_GNTTAB_in_use, batch
            )
        for ref, count in zip(refs, pins, strict=True):
            if not count:
                self._release(ref)
        return pins

    def _release(self, ref: int) -> None:
        self.taken.discard(ref)
        self._free.append(ref)
