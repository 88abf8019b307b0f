"""What both halves of the block driver know: names, limits, request bytes, errors.

Source: xen/io/blkif.h; the order and spelling of the store keys is that of Linux' blkfront and
blkback as recorded on a real host.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from hvsim.abi.blkif import (
    BLKIF_MAX_SEGMENTS_PER_REQUEST,
    BLKIF_RSP_EOPNOTSUPP,
    BLKIF_RSP_ERROR,
    BLKIF_RSP_OKAY,
    OP_NAMES,
    REQUEST,
    RESPONSE,
    SECTOR_SIZE,
    SECTORS_PER_PAGE,
)
from hvsim.errors import Refused

REQUEST_BYTES: Final = REQUEST.size
RESPONSE_BYTES: Final = RESPONSE.size
PAGE_SIZE: Final = SECTOR_SIZE * SECTORS_PER_PAGE

MAX_RING_PAGE_ORDER: Final = 4
"""`max-ring-page-order` that the backend offers (Linux XENBUS_MAX_RING_GRANT_ORDER)."""

MAX_INDIRECT_SEGMENTS: Final = 256
"""`feature-max-indirect-segments` that the backend offers (Linux MAX_INDIRECT_SEGMENTS)."""

FRONT_MAX_SEGMENTS: Final = 32
"""Segments of the largest request the frontend makes (Linux xen_blkif_max_segments)."""

MAX_PERSISTENT_GRANTS: Final = 1056
"""Persistent grants a backend keeps mapped per device (Linux max_persistent_grants)."""

MAX_SECTORS: Final = (1 << 63) // SECTOR_SIZE - 1
"""The largest disk whose last byte a file offset can name."""

STATUS_NAMES: Final = {
    BLKIF_RSP_OKAY: "BLKIF_RSP_OKAY",
    BLKIF_RSP_ERROR: "BLKIF_RSP_ERROR",
    BLKIF_RSP_EOPNOTSUPP: "BLKIF_RSP_EOPNOTSUPP",
}

DIRECT: Final = tuple(
    struct.Struct("<BBH4xQQ" + "IBBxx" * count)
    for count in range(BLKIF_MAX_SEGMENTS_PER_REQUEST + 1)
)
"""blkif_request_t with as many segments as the index says, cut behind the last one."""

unpack_response = RESPONSE.struct.unpack
pack_response = RESPONSE.struct.pack


class BlockError(Refused):
    """A request failed.

    Attributes:
        status: BLKIF_RSP_* of the response (BLKIF_RSP_ERROR when there was none).
        op: name of the operation.
        sector: first sector of the request, 512 bytes each.
    """

    def __init__(self, status: int, op: str, sector: int, why: str = "") -> None:
        name = STATUS_NAMES.get(status, str(status))
        super().__init__(f"{op} of sector {sector}: {why or name}")
        self.status = status
        self.op = op
        self.sector = sector


class BlockClosed(BlockError):
    """The device was closed, by us or by the toolstack; the request was not done."""

    def __init__(self, op: str, sector: int, why: str = "the device is closed") -> None:
        super().__init__(BLKIF_RSP_ERROR, op, sector, why)


class BlockBroken(BlockClosed):
    """The backend broke the protocol and is not talked to any more."""


@dataclass(frozen=True, slots=True)
class Features:
    """What the backend says of the disk; taken over at connect, checked, never looked up again.

    `sectors` counts units of 512 bytes whatever `sector_size` is.
    """

    sectors: int = 0
    sector_size: int = SECTOR_SIZE
    physical_sector_size: int = SECTOR_SIZE
    info: int = 0
    barrier: bool = False
    flush: bool = False
    discard: bool = False
    discard_granularity: int = 0
    discard_alignment: int = 0
    discard_secure: bool = False
    persistent: bool = False
    max_indirect_segments: int = 0


def op_name(operation: int) -> str:
    """Name of a BLKIF_OP_* number, for people."""
    return OP_NAMES.get(operation, f"operation {operation}")
