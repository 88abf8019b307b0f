"""A double fetch: where a request goes is checked in one reading of the slot and used from another.

A frontend that writes into the slot in between reaches beyond its disk (XSA-155).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hvsim.abi.blkif import BLKIF_OP_READ, BLKIF_OP_WRITE, SECTOR_SIZE
from hvsim.abi.ring import slot_offset
from hvsim.domain.injection import Fault
from hvsim.drivers.block.service import Service, _views
from hvsim.faults.inject.swap import swap

SECTOR_AT = 16
"""Of blkif_request_t: sector_number."""


def plant(_fault: Fault) -> Callable[[], None]:
    """In a storage domain."""
    transfer = Service._transfer

    def fetched_again(ring: Any) -> int:
        at = slot_offset(ring.req_cons - 1, ring.size, ring.slot_size) + SECTOR_AT
        with ring.page as page:
            return int.from_bytes(page[at : at + 8], "little")

    def twice(service: Service, operation: int, sector: int, segments: Sequence[Any]) -> None:
        image = service._image
        total = sum(one.last_sect - one.first_sect + 1 for one in segments)
        plain = operation in (BLKIF_OP_READ, BLKIF_OP_WRITE)
        if not plain or sector + total > image.sectors:
            transfer(service, operation, sector, segments)
            return
        sector = fetched_again(service._ring)
        reads = operation == BLKIF_OP_READ
        with service._pages.use([one.gref for one in segments], write=reads) as pages:
            (image.read if reads else image.write)(_views(pages, segments), sector * SECTOR_SIZE)

    return swap((Service, "_transfer", twice))
