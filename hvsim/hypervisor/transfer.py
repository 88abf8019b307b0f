"""Mapping, unmapping and copying granted pages: where two domains' accounts meet.

The page-precise rules are the grant table's; this module adds the extent: who may be handed its
descriptor, and in which mode.
"""

from collections.abc import Callable, Generator
from typing import Final

from hvsim.abi.grant_table import (
    GNTMAP_device_map,
    GNTMAP_host_map,
    GNTMAP_readonly,
    GNTST_bad_copy_arg,
    GNTST_bad_domain,
    GNTST_bad_handle,
    GNTST_bad_page,
    GNTST_general_error,
    GNTST_no_device_space,
    GNTST_no_space,
    GNTST_okay,
    GNTST_permission_denied,
)
from hvsim.abi.hypercall import DOMID_SELF
from hvsim.abi.memory import PAGE_SIZE
from hvsim.hypervisor.domains import ALIVE, Domain, Process
from hvsim.hypervisor.grants import Active, GrantRefused, Mapping
from hvsim.hypervisor.ledger import Ledger
from hvsim.hypervisor.memory import Extent
from hvsim.hypervisor.work import pieces

MAX_DESCRIPTORS: Final = 32
"""Descriptors that one call may bring: each is an open file that is made for it."""
_ALLOWED_FLAGS: Final = GNTMAP_device_map | GNTMAP_host_map | GNTMAP_readonly


class Transfers:
    """The operations of the grant table hypercall that involve two domains.

    Args:
        domains: every domain there is, by number.
        released: called with a domain of which an extent has lost its last pin.
    """

    def __init__(
        self,
        domains: dict[int, Domain],
        ledger: Ledger,
        released: Callable[[Domain, Extent], None],
    ) -> None:
        self._domains = domains
        self._ledger = ledger
        self._released = released

    # -- map -----------------------------------------------------------------------------

    def map_one(
        self, process: Process, flags: int, ref: int, domid: int, new: list[Extent]
    ) -> list[int]:
        """One map operation: ``[status, handle, extent id, page]``.

        An extent that this process now holds for the first time is appended to *new*: its
        descriptor goes with the reply.
        """
        try:
            mapping, page = self._map(process, flags, ref, domid, new)
        except GrantRefused as refusal:
            self._ledger.refuse(
                "grant.refused",
                process.domid,
                f"d{process.domid} maps ref {ref:#x} of d{domid}: {refusal.text}",
                status=refusal.status,
            )
            return [refusal.status, 0, 0, 0]
        return [GNTST_okay, mapping.handle, mapping.active.extent.id, page]

    def _map(
        self, process: Process, flags: int, ref: int, domid: int, new: list[Extent]
    ) -> tuple[Mapping, int]:
        if not flags & (GNTMAP_device_map | GNTMAP_host_map) or flags & ~_ALLOWED_FLAGS:
            raise GrantRefused(GNTST_general_error, f"bad flags in grant map op: {flags:#x}")
        owner = self._owner(process, domid)
        maptrack = process.domain.maptrack
        if maptrack.full:
            raise GrantRefused(GNTST_no_device_space, "failed to obtain maptrack handle")
        readonly = bool(flags & GNTMAP_readonly)
        table = owner.grants
        gfn, entry_readonly = table.check(ref, process.domid, not readonly)
        active = table.active.get(ref)
        if active is None:
            extent = self._share(owner, process.domid, gfn, entry_readonly, ref)
            active = Active(gfn, process.domid, extent, entry_readonly)
        elif active.peer != process.domid or active.readonly != entry_readonly:
            # The owner rewrote an entry that is mapped. The mapped page is what counts.
            raise GrantRefused(GNTST_general_error, f"ref {ref:#x} was changed while mapped")
        extent = active.extent
        if extent.orphan:
            raise GrantRefused(GNTST_bad_page, f"extent {extent.id} is of a process that has gone")
        live = process.extents.get(extent.id, 0)
        if not live:
            if len(new) >= MAX_DESCRIPTORS:
                raise GrantRefused(GNTST_no_space, "too many extents in one call")
            new.append(extent)
        process.extents[extent.id] = live + 1
        table.pin(ref, active, readonly)
        handle = maptrack.take()
        mapping = Mapping(handle, process.token, owner.domid, ref, active, readonly)
        maptrack.mappings[handle] = mapping
        process.handles.add(handle)
        self._ledger.counters["grant.map"] += 1
        return mapping, active.gfn - extent.base_gfn

    def _owner(self, process: Process, domid: int) -> Domain:
        owner = process.domain if domid == DOMID_SELF else self._domains.get(domid)
        if owner is None or owner.dying != ALIVE:
            raise GrantRefused(GNTST_bad_domain, f"could not find domain {domid}")
        return owner

    def _share(self, owner: Domain, peer: int, gfn: int, readonly: bool, ref: int = -1) -> Extent:
        """The extent of a frame, once it is settled that *peer* may hold its descriptor."""
        extent = owner.memory.extent_at(gfn)
        if extent is None or not extent.grantable or extent.orphan:
            if owner.memory.machine_frame(gfn) is None:
                text = f"frame {gfn:#x} is not a frame of d{owner.domid}"
            else:
                text = (
                    f"frame {gfn:#x} is plain RAM, which is never shared; "
                    "allocate a grant extent and grant its frames"
                )
            raise GrantRefused(GNTST_bad_page, text)
        if extent.peer is None:
            if why := owner.memory.share(extent, peer, readonly):
                raise GrantRefused(GNTST_bad_page, why)
            self._ledger.record(
                "extent.shared",
                owner.domid,
                f"d{owner.domid} extent {extent.id} ({extent.nr_pages} pages) is shared with "
                f"d{peer}, {'read-only' if readonly else 'writable'}",
                extent=extent.id,
                peer=peer,
                ref=ref,
            )
        elif extent.peer != peer:
            raise GrantRefused(
                GNTST_permission_denied,
                f"extent {extent.id} is shared with d{extent.peer} for its whole life; "
                "grant frames of another extent",
            )
        elif extent.writable == readonly:
            raise GrantRefused(
                GNTST_bad_page,
                f"extent {extent.id} is shared {'writable' if extent.writable else 'read-only'} "
                "for its whole life; grant frames of another extent",
            )
        return extent

    # -- unmap ---------------------------------------------------------------------------

    def unmap_one(self, process: Process, handle: int) -> int:
        """One unmap operation: its status."""
        mapping = process.domain.maptrack.mappings.get(handle)
        if mapping is None or mapping.token != process.token:
            self._ledger.refuse(
                "grant.refused",
                process.domid,
                f"bad d{process.domid} handle {handle:#x}",
                status=GNTST_bad_handle,
            )
            return GNTST_bad_handle
        self._end(process, mapping)
        return GNTST_okay

    def release_process(self, process: Process) -> Generator[None, None, int]:
        """A process is gone: end all its mappings; returns how many there were. A job (``work``).

        None comes meanwhile, as nobody is left who could map.
        """
        mappings = process.domain.maptrack.mappings
        released = len(process.handles)
        for pause, piece in pieces(list(process.handles)):
            if pause:
                yield
            for handle in piece:
                self._end(process, mappings[handle])
        return released

    def _end(self, process: Process, mapping: Mapping) -> None:
        self._let_go(process, mapping)
        self._unpin(mapping)

    def _let_go(self, process: Process, mapping: Mapping) -> None:
        """The process has it no more."""
        del process.domain.maptrack.mappings[mapping.handle]
        process.handles.discard(mapping.handle)
        extent = mapping.active.extent
        live = process.extents[extent.id] - 1
        if live:
            process.extents[extent.id] = live
        else:
            del process.extents[extent.id]
        self._ledger.counters["grant.unmap"] += 1

    def _unpin(self, mapping: Mapping) -> None:
        """The owner has it back."""
        owner = self._domains[mapping.owner]  # a zombie at least, while it has a pin
        extent = owner.grants.unpin(mapping.ref, mapping.readonly).extent
        if not extent.pins:
            self._released(owner, extent)

    # -- copy ----------------------------------------------------------------------------

    def copy_one(self, process: Process, op: list[int]) -> int:
        """One copy operation: its status. *op* is as on the wire, its types checked."""
        src_dom, src_is_ref, src, src_off, dst_dom, dst_is_ref, dst, dst_off, length = op
        try:
            if (
                min(src_off, dst_off, length) < 0
                or src_off + length > PAGE_SIZE
                or dst_off + length > PAGE_SIZE
            ):
                raise GrantRefused(GNTST_bad_copy_arg, "copy beyond page area")
            src_extent, src_page = self._frame(process, src_dom, src_is_ref, src, False)
            dst_extent, dst_page = self._frame(process, dst_dom, dst_is_ref, dst, True)
            try:
                data = src_extent.memory.read(src_page * PAGE_SIZE + src_off, length)
                dst_extent.memory.write(dst_page * PAGE_SIZE + dst_off, data)
            except OSError as error:
                raise GrantRefused(GNTST_bad_page, f"cannot copy: {error.strerror}") from None
        except GrantRefused as refusal:
            self._ledger.refuse(
                "grant.refused",
                process.domid,
                f"d{process.domid} copies: {refusal.text}",
                status=refusal.status,
            )
            return refusal.status
        self._ledger.counters["grant.copy"] += 1
        return GNTST_okay

    def _frame(
        self, process: Process, domid: int, is_ref: int, name: int, write: bool
    ) -> tuple[Extent, int]:
        owner = self._owner(process, domid)
        if is_ref:
            gfn, _ = owner.grants.check(name, process.domid, write)
        elif owner is not process.domain:
            raise GrantRefused(GNTST_permission_denied, "only allow copy-by-frame for DOMID_SELF")
        else:
            gfn = name
        extent = owner.memory.extent_at(gfn)
        if extent is None:
            raise GrantRefused(
                GNTST_bad_page, f"frame {gfn:#x} of d{owner.domid} has no bytes to copy"
            )
        return extent, gfn - extent.base_gfn
