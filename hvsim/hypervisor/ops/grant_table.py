"""grant_table_op (xen/grant_table.h)."""

from typing import Final, cast

from hvsim.abi.errno import E2BIG, EINVAL
from hvsim.abi.grant_table import (
    MAX_ENTRIES_V1,
    MAX_FRAMES,
    GNTTABOP_copy,
    GNTTABOP_map_grant_ref,
    GNTTABOP_query_size,
    GNTTABOP_setup_table,
    GNTTABOP_unmap_grant_ref,
)
from hvsim.abi.hypercall import DOMID_SELF, HVSIM_GNTTAB_in_use, HYPERVISOR_grant_table_op
from hvsim.hypervisor.calls import Answer, Machine, Process, Result, Steps, hypercall
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.grants import GrantRefused
from hvsim.hypervisor.memory import Extent
from hvsim.hypervisor.work import pieces

_OP: Final = HYPERVISOR_grant_table_op
MAX_BATCH: Final = 512
MAX_REFS: Final = 8192
"""References in one in_use call."""
MAP_PIECE: Final = 16
"""Pages that are mapped, or copied, in one piece of work."""
REFS_PIECE: Final = 256
"""References that are looked at in one."""
_COPY_TYPES: Final = (int, bool, int, int, int, bool, int, int, int)


def _rows(batch: list[object], limit: int, width: int) -> list[list[object]]:
    """A batch whose rows have that many values, before any of it is done. Raises XenError."""
    if len(batch) > limit:
        raise XenError(E2BIG, f"a batch of {len(batch)}, {limit} is the limit")
    for row in batch:
        if type(row) is not list or len(row) != width:
            raise XenError(EINVAL, "a row of the batch has a wrong shape")
    return cast("list[list[object]]", batch)


def _numbers(values: list[object]) -> list[int]:
    """Values that are all numbers. Raises XenError."""
    for odd in set(map(type, values)) - {int}:
        raise XenError(EINVAL, f"{odd.__name__} in a batch of numbers")
    return cast("list[int]", values)


@hypercall(_OP, GNTTABOP_setup_table, int)
def setup_table(machine: Machine, caller: Process, dom: int) -> Result:
    """(dom) -> entries, with the descriptor of the shared table; only one's own."""
    if dom not in (DOMID_SELF, caller.domid):
        raise XenError(EINVAL, f"d{caller.domid} asks for the grant table of d{dom}")
    table = machine.grant_table(caller.domain)
    assert table.memory is not None
    return Answer((MAX_ENTRIES_V1,), [table.memory])


@hypercall(_OP, GNTTABOP_query_size, int)
def query_size(machine: Machine, caller: Process, dom: int) -> Result:
    """(dom) -> frames in use, most frames"""
    own = dom in (DOMID_SELF, caller.domid)
    domain = caller.domain if own else machine.governed(dom, caller)
    return domain.grants.nr_frames, MAX_FRAMES


@hypercall(_OP, GNTTABOP_map_grant_ref, list)
def map_grant_ref(machine: Machine, caller: Process, batch: list[object]) -> Steps:
    """([[flags, ref, dom], ...]) -> [[status, handle, extent, page], ...],
    [[extent, pages, writable], ...], with a descriptor for each of the second list."""
    operations = [_numbers(row) for row in _rows(batch, MAX_BATCH, 3)]
    new: list[Extent] = []
    rows: list[list[int]] = []
    map_one = machine.transfers.map_one
    for pause, piece in pieces(operations, MAP_PIECE):
        if pause:
            yield
        rows += [map_one(caller, flags, ref, dom, new) for flags, ref, dom in piece]
    extents = [[extent.id, extent.nr_pages, extent.writable] for extent in new]
    return Answer((rows, extents), [extent.memory for extent in new])


@hypercall(_OP, GNTTABOP_unmap_grant_ref, list)
def unmap_grant_ref(machine: Machine, caller: Process, handles: list[object]) -> Steps:
    """([handle, ...]) -> [status, ...]"""
    if len(handles) > MAX_BATCH:
        raise XenError(E2BIG, f"a batch of {len(handles)}, {MAX_BATCH} is the limit")
    numbers = _numbers(handles)
    unmap_one = machine.transfers.unmap_one
    statuses: list[int] = []
    for pause, piece in pieces(numbers):
        if pause:
            yield
        statuses += [unmap_one(caller, handle) for handle in piece]
    return (statuses,)


@hypercall(_OP, GNTTABOP_copy, list)
def copy(machine: Machine, caller: Process, batch: list[object]) -> Steps:
    """([[source dom, is ref, ref or gfn, offset, destination the same four, length], ...])
    -> [status, ...]"""
    operations = [_copy(row) for row in _rows(batch, MAX_BATCH, len(_COPY_TYPES))]
    copy_one = machine.transfers.copy_one
    statuses: list[int] = []
    for pause, piece in pieces(operations, MAP_PIECE):
        if pause:
            yield
        statuses += [copy_one(caller, row) for row in piece]
    return (statuses,)


def _copy(row: list[object]) -> list[int]:
    """One copy, whose values have their types. Raises XenError."""
    if tuple(map(type, row)) != _COPY_TYPES and not _almost(row):
        raise XenError(EINVAL, "a row of the batch has a wrong type")
    return cast("list[int]", row)


def _almost(row: list[object]) -> bool:
    """Whether a row of a copy differs in no more than numbers for what is true or false."""
    return all(
        type(value) is wanted or (wanted is bool and value in (0, 1))
        for value, wanted in zip(row, _COPY_TYPES, strict=True)
    )


@hypercall(_OP, HVSIM_GNTTAB_in_use, list)
def in_use(machine: Machine, caller: Process, refs: list[object]) -> Steps:
    """([ref, ...]) -> [mappings, ...]: the end of the access to own references.

    The owner has cleared the entries; from here on they are cleared for certain.
    """
    if len(refs) > MAX_REFS:
        raise XenError(E2BIG, f"a batch of {len(refs)}, {MAX_REFS} is the limit")
    numbers = _numbers(refs)
    table = caller.domain.grants
    pins: list[int] = []
    try:
        for pause, piece in pieces(numbers, REFS_PIECE):
            if pause:
                yield
            pins += [table.end_access(ref) for ref in piece]
    except GrantRefused as refusal:
        raise XenError(EINVAL, refusal.text) from None
    return (pins,)
