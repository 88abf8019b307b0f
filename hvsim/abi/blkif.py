"""The block interface: requests, responses and their numbers (xen/io/blkif.h).

The layout is that of the native x86-64 protocol (``protocol = "x86_64-abi"``). A sector is 512
bytes whatever the device's ``sector-size`` says, except where noted.
"""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from hvsim.abi.layout import ByteLayout, Layout
from hvsim.abi.ring import SRING_RING, ring_size

BLKIF_OP_READ: Final = 0
BLKIF_OP_WRITE: Final = 1
BLKIF_OP_WRITE_BARRIER: Final = 2
BLKIF_OP_FLUSH_DISKCACHE: Final = 3
BLKIF_OP_RESERVED_1: Final = 4
BLKIF_OP_DISCARD: Final = 5
BLKIF_OP_INDIRECT: Final = 6

OP_NAMES: Final = MappingProxyType(
    {
        BLKIF_OP_READ: "READ",
        BLKIF_OP_WRITE: "WRITE",
        BLKIF_OP_WRITE_BARRIER: "WRITE_BARRIER",
        BLKIF_OP_FLUSH_DISKCACHE: "FLUSH_DISKCACHE",
        BLKIF_OP_RESERVED_1: "RESERVED_1",
        BLKIF_OP_DISCARD: "DISCARD",
        BLKIF_OP_INDIRECT: "INDIRECT",
    }
)

BLKIF_RSP_OKAY: Final = 0
BLKIF_RSP_ERROR: Final = -1
BLKIF_RSP_EOPNOTSUPP: Final = -2

BLKIF_MAX_SEGMENTS_PER_REQUEST: Final = 11
BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST: Final = 8
BLKIF_DISCARD_SECURE: Final = 1 << 0

VDISK_CDROM: Final = 1
VDISK_REMOVABLE: Final = 2
VDISK_READONLY: Final = 4

SECTOR_SHIFT: Final = 9
SECTOR_SIZE: Final = 1 << SECTOR_SHIFT
SECTORS_PER_PAGE: Final = 4096 >> SECTOR_SHIFT

SEGMENT: Final = Layout(
    "struct blkif_request_segment", [("gref", "I"), ("first_sect", "B"), ("last_sect", "B")]
)
SEGMENTS_PER_INDIRECT_PAGE: Final = 4096 // SEGMENT.size

REQUEST: Final = ByteLayout(
    "blkif_request_t",
    [
        ("operation", "B"),
        ("nr_segments", "B"),
        ("handle", "H"),
        ("id", "Q"),
        ("sector_number", "Q"),
        ("seg", f"{BLKIF_MAX_SEGMENTS_PER_REQUEST * SEGMENT.size}s"),
    ],
)
REQUEST_HEADER: Final = Layout(
    "blkif_request_t without seg",
    [
        ("operation", "B"),
        ("nr_segments", "B"),
        ("handle", "H"),
        ("id", "Q"),
        ("sector_number", "Q"),
    ],
)
REQUEST_DISCARD: Final = Layout(
    "blkif_request_discard_t",
    [
        ("operation", "B"),
        ("flag", "B"),
        ("handle", "H"),
        ("id", "Q"),
        ("sector_number", "Q"),
        ("nr_sectors", "Q"),
    ],
)
REQUEST_INDIRECT: Final = Layout(
    "blkif_request_indirect_t",
    [
        ("operation", "B"),
        ("indirect_op", "B"),
        ("nr_segments", "H"),
        ("id", "Q"),
        ("sector_number", "Q"),
        ("handle", "H"),
        ("indirect_grefs", f"{BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST}I"),
    ],
)
RESPONSE: Final = Layout("blkif_response_t", [("id", "Q"), ("operation", "B"), ("status", "h")])

ENTRY_SIZE: Final = max(REQUEST.size, RESPONSE.size)
"""Bytes of a ring slot: ``sizeof(union blkif_sring_entry)``."""

SRING_SIZE: Final = SRING_RING + ENTRY_SIZE
"""``sizeof(blkif_sring_t)``: the header and the one slot that the C type declares."""


def blk_ring_size(nr_pages: int) -> int:
    """``__CONST_RING_SIZE(blkif, nr_pages * 4096)``: slots of a ring of ``nr_pages`` frames."""
    return ring_size(nr_pages * 4096, ENTRY_SIZE)


class Segment(NamedTuple):
    """One piece of a frame, in sectors of 512 bytes, both ends included."""

    gref: int
    first_sect: int
    last_sect: int


class Request(NamedTuple):
    """READ, WRITE, WRITE_BARRIER or FLUSH_DISKCACHE.

    ``nr_segments`` is what the peer wrote and may exceed the eleven that fit; ``segments`` then
    holds eleven. Checking is the receiver's business.
    """

    operation: int
    nr_segments: int
    handle: int
    id: int
    sector_number: int
    segments: tuple[Segment, ...]


class RequestDiscard(NamedTuple):
    """DISCARD of ``nr_sectors`` from ``sector_number``."""

    operation: int
    flag: int
    handle: int
    id: int
    sector_number: int
    nr_sectors: int


class RequestIndirect(NamedTuple):
    """INDIRECT: the segments lie in the frames of ``indirect_grefs`` (always eight numbers)."""

    operation: int
    indirect_op: int
    nr_segments: int
    id: int
    sector_number: int
    handle: int
    indirect_grefs: tuple[int, ...]


class Response(NamedTuple):
    """The answer to the request of the same ``id``; ``status`` is BLKIF_RSP_*."""

    id: int
    operation: int
    status: int


Buffer = bytes | bytearray | memoryview


def pack_request(
    operation: int, handle: int, id: int, sector_number: int, segments: Sequence[Segment] = ()
) -> bytes:
    """A ``blkif_request_t`` (112 bytes); :class:`ValueError` for more than eleven segments."""
    if len(segments) > BLKIF_MAX_SEGMENTS_PER_REQUEST:
        raise ValueError(f"{len(segments)} segments, a direct request holds 11")
    return REQUEST.pack(
        operation, len(segments), handle, id, sector_number, pack_segments(segments)
    )


def pack_request_discard(
    handle: int, id: int, sector_number: int, nr_sectors: int, flag: int = 0
) -> bytes:
    """A ``blkif_request_discard_t`` (32 bytes)."""
    return REQUEST_DISCARD.pack(BLKIF_OP_DISCARD, flag, handle, id, sector_number, nr_sectors)


def pack_request_indirect(
    indirect_op: int,
    handle: int,
    id: int,
    sector_number: int,
    nr_segments: int,
    indirect_grefs: Sequence[int],
) -> bytes:
    """A ``blkif_request_indirect_t`` (64 bytes); unused references are 0.

    :class:`ValueError` for more than eight indirect pages.
    """
    unused = BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST - len(indirect_grefs)
    if unused < 0:
        raise ValueError(f"{len(indirect_grefs)} indirect pages, a request holds 8")
    return REQUEST_INDIRECT.pack(
        BLKIF_OP_INDIRECT,
        indirect_op,
        nr_segments,
        id,
        sector_number,
        handle,
        *indirect_grefs,
        *(0,) * unused,
    )


def pack_response(id: int, operation: int, status: int) -> bytes:
    """A ``blkif_response_t`` (16 bytes)."""
    return RESPONSE.pack(id, operation, status)


def pack_segments(segments: Sequence[Segment]) -> bytes:
    """Segments one after another, as in a request and in an indirect page."""
    pack = SEGMENT.struct.pack
    return b"".join([pack(*segment) for segment in segments])


def unpack_segments(data: Buffer, count: int, offset: int = 0) -> tuple[Segment, ...]:
    """``count`` segments from ``data`` at ``offset`` (``struct.error`` if they do not fit)."""
    unpack = SEGMENT.struct.unpack_from
    return tuple(Segment(*unpack(data, offset + 8 * i)) for i in range(count))


def unpack_request(data: Buffer, offset: int = 0) -> Request | RequestDiscard | RequestIndirect:
    """The request in the slot at ``offset``, by its operation.

    The slot must already be private memory: a peer could change it between two looks.
    """
    operation = data[offset]
    if operation == BLKIF_OP_DISCARD:
        return RequestDiscard._make(REQUEST_DISCARD.struct.unpack_from(data, offset))
    if operation == BLKIF_OP_INDIRECT:
        op, indirect_op, nr, id_, sector, handle, *grefs = REQUEST_INDIRECT.unpack_from(
            data, offset
        )
        return RequestIndirect(op, indirect_op, nr, id_, sector, handle, tuple(grefs))
    op, nr_segments, handle, id_, sector = REQUEST_HEADER.struct.unpack_from(data, offset)
    count = min(nr_segments, BLKIF_MAX_SEGMENTS_PER_REQUEST)
    segments = unpack_segments(data, count, offset + REQUEST.offsets["seg"])
    return Request(op, nr_segments, handle, id_, sector, segments)


def unpack_response(data: Buffer, offset: int = 0) -> Response:
    """The response in the slot at ``offset``."""
    return Response._make(RESPONSE.struct.unpack_from(data, offset))
