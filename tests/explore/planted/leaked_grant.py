"""A grant leaked on the error path: of pages that are mapped together, one cannot be, and those
that could stay mapped with nobody to unmap them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hvsim.domain.injection import Fault
from hvsim.domain.mapper import GrantMapper
from hvsim.faults.inject.swap import swap


def plant(_fault: Fault) -> Callable[[], None]:
    """In a storage domain."""
    map_rows = GrantMapper._map_rows

    def leaking(mapper: GrantMapper, domid: int, refs: Sequence[int], readonly: bool) -> Any:
        keep = swap((mapper, "_unmap_rows", lambda *_: None))
        try:
            return map_rows(mapper, domid, refs, readonly)
        finally:
            keep()

    return swap((GrantMapper, "_map_rows", leaking))
