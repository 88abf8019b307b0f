"""The capture ring: pages of a domain, granted to domain 0, that frames are copied into.

The first page says how the ring lies and how far both sides have come; the data pages follow:

    0   magic       MAGIC
    4   nr_pages    data pages, a power of two
    8   prod        bytes written, by the domain
    12  cons        bytes read, by domain 0
    16  seen        frames that passed by
    20  dropped     frames that found no room
    24  snaplen     bytes kept of a frame at most
    64  gref[]      grant references of the data pages, so that one reference names the whole ring

All count freely through 32 bits. The data is a row of records, each of a multiple of 8 bytes,
which may run over the end of the last page into the first:

    0   size        of the record, this header included
    4   length      of the frame
    8   time        monotonic nanoseconds
    16  kept        bytes of the frame that follow
    20  flags       FLAG_SENT: the half that writes this sent the frame (else: received it)
    21  queue
    22  vnet        struct virtio_net_hdr of the frame, 10 bytes
    32  missed      frames dropped since the record before

    CaptureWriter                   CaptureReader
    record(frame, ...)       --->   take() -> bytes  --->  records(bytes)

The writer never waits: a frame without room is counted in `dropped`. Neither side believes the
other's index: it is copied once, and one that cannot be is `BrokenByPeer`. Nothing here blocks,
allocates pages or makes a system call.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hvsim.abi.memory import PAGE_SIZE
from hvsim.errors import BrokenByPeer

MAGIC: Final = 0x31564348
"""HCV1."""
PROD, CONS, SEEN, DROPPED, SNAPLEN = 2, 3, 4, 5, 6
"""Words of the first page."""
GREFS: Final = 16
"""The word at which the references begin."""
MAX_PAGES: Final = 512
"""Data pages that a ring may have: their references fit the first page."""
INDEX_MASK: Final = 0xFFFF_FFFF

RECORD: Final = struct.Struct("<IIQIBB10sII")
FLAG_SENT: Final = 1
NO_VNET: Final = bytes(10)
MAX_FRAME: Final = 1 << 17
"""Bytes of a frame beyond which a record makes no sense (64 KiB and headers, with room)."""


@dataclass(frozen=True, slots=True)
class Record:
    """One frame as it was seen.

    Attributes:
        time_ns: monotonic nanoseconds.
        sent: whether the half that saw it sent it to the other one.
        queue: by which queue.
        vnet: struct virtio_net_hdr.
        length: of the frame.
        data: what was kept of it.
        missed: frames lost since the one before.
    """

    time_ns: int
    sent: bool
    queue: int
    vnet: bytes
    length: int
    data: bytes
    missed: int


class CaptureWriter:
    """The domain's side.  Making one initialises the first page.

    Args:
        view: the first page and the data pages side by side, writable.
        refs: grant references of the data pages.
        snaplen: bytes of a frame to keep at most.

    Attributes:
        seen, dropped: frames that passed by; those of them that found no room.
        broken: the reader's index makes no sense; nothing is written any more.
        words: the first page, as 32-bit words.
        prod: our own index, in bytes through 32 bits; the copy in the page is for the reader.
    """

    def __init__(self, view: memoryview, refs: list[int], snaplen: int) -> None:
        nr_pages = len(refs)
        if nr_pages & (nr_pages - 1) or not 0 < nr_pages <= MAX_PAGES:
            raise ValueError(f"a capture ring has a power of two of pages, not {nr_pages}")
        self.words = view[:PAGE_SIZE].cast("I")
        self._data = view[PAGE_SIZE : (1 + nr_pages) * PAGE_SIZE]
        self._size = nr_pages * PAGE_SIZE
        self._snaplen = min(snaplen, MAX_FRAME)
        self.prod = 0
        self._missed = 0
        self.seen = 0
        self.dropped = 0
        self.broken = False
        for number, ref in enumerate(refs):
            self.words[GREFS + number] = ref
        self.words[SNAPLEN] = self._snaplen
        self.words[1] = nr_pages
        self.words[0] = MAGIC

    def release(self) -> None:
        """Let go of the pages; a later use raises ValueError."""
        self.words.release()
        self._data.release()

    def record(
        self,
        frame: bytes | bytearray | memoryview,
        *,
        sent: bool,
        time_ns: int,
        vnet: bytes | memoryview = NO_VNET,
        queue: int = 0,
    ) -> bool:
        """Write a copy of `frame`; whether it found room."""
        words = self.words
        length = len(frame)
        kept = min(length, self._snaplen)
        size = (RECORD.size + kept + 7) & ~7
        self.seen += 1
        words[SEEN] = self.seen & INDEX_MASK
        used = (self.prod - words[CONS]) & INDEX_MASK
        if used > self._size:
            self.broken = True
        if self.broken or size > self._size - used:
            self.dropped += 1
            self._missed += 1
            words[DROPPED] = self.dropped & INDEX_MASK
            return False
        head = RECORD.pack(
            size, length, time_ns, kept, FLAG_SENT if sent else 0, queue, bytes(vnet),
            self._missed & INDEX_MASK, 0,
        )  # fmt: skip
        self._missed = 0
        at = self.prod & (self._size - 1)
        self._put(at, head)
        self._put((at + RECORD.size) & (self._size - 1), frame[:kept])
        self.prod = (self.prod + size) & INDEX_MASK
        # Last, and in one piece: what the reader sees up to here is whole.
        words[PROD] = self.prod
        return True

    def _put(self, at: int, data: bytes | bytearray | memoryview) -> None:
        room = self._size - at
        if len(data) <= room:
            self._data[at : at + len(data)] = data
        else:
            self._data[at:] = data[:room]
            self._data[: len(data) - room] = data[room:]


def ring_refs(first: memoryview) -> list[int]:
    """References of the data pages, out of the first page of a ring.

    Raises: BrokenByPeer when the page is not that of a ring.
    """
    words = first.cast("I")
    try:
        magic, nr_pages = words[0], words[1]
        if magic != MAGIC or nr_pages & (nr_pages - 1) or not 0 < nr_pages <= MAX_PAGES:
            raise BrokenByPeer("the page that was granted is not that of a capture ring")
        return [words[GREFS + number] for number in range(nr_pages)]
    finally:
        words.release()


class CaptureReader:
    """Domain 0's side.

    Args:
        first: the first page.
        data: the data pages side by side.

    Attributes:
        words: the first page, as 32-bit words.
        cons: our own index, in bytes through 32 bits.
    """

    def __init__(self, first: memoryview, data: memoryview) -> None:
        self.words = first.cast("I")
        self._data = data
        self._size = len(data)
        self.cons = 0

    def release(self) -> None:
        """Let go of the pages."""
        self.words.release()

    @property
    def seen(self) -> int:
        """Frames that passed by, as the domain says (through 32 bits)."""
        return self.words[SEEN]

    @property
    def dropped(self) -> int:
        """Frames that found no room, as the domain says (through 32 bits)."""
        return self.words[DROPPED]

    def take(self) -> bytes:
        """A private copy of every record that is there; the room is free again afterwards.

        Raises: BrokenByPeer.
        """
        prod = self.words[PROD]
        ahead = (prod - self.cons) & INDEX_MASK
        if ahead > self._size:
            raise BrokenByPeer(f"producer index {prod} is out of range (ours: {self.cons})")
        at = self.cons & (self._size - 1)
        end = at + ahead
        copy = bytes(self._data[at : min(end, self._size)])
        if end > self._size:
            copy += bytes(self._data[: end - self._size])
        self.cons = prod
        self.words[CONS] = prod
        return copy


def records(data: bytes) -> Iterator[Record]:
    """The records in a copy that `take` made.  Raises: BrokenByPeer at one that cannot be."""
    at = 0
    while at < len(data):
        if len(data) - at < RECORD.size:
            raise BrokenByPeer(f"{len(data) - at} bytes are no record")
        size, length, time_ns, kept, flags, queue, vnet, missed, _ = RECORD.unpack_from(data, at)
        if (
            size != (RECORD.size + kept + 7) & ~7
            or size > len(data) - at
            or kept > length
            or length > MAX_FRAME
        ):
            raise BrokenByPeer(f"a record of {size} bytes for {kept} of {length} of a frame")
        start = at + RECORD.size
        yield Record(
            time_ns, bool(flags & FLAG_SENT), queue, vnet, length, data[start : start + kept],
            missed,
        )  # fmt: skip
        at += size
