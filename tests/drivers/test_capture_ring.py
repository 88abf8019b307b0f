"""The capture ring, both halves over the same bytes, and what a hostile half can do to the other.

Red, each tried: with a writer that does not look for room (frames torn by the reader's pace); with
a writer that publishes its index before the frame's bytes; without the check of the reader's
index; without the checks of `records`.
"""

import mmap
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvsim.drivers.capture.ring import (
    CONS,
    GREFS,
    MAX_PAGES,
    PROD,
    RECORD,
    CaptureReader,
    CaptureWriter,
    Record,
    records,
    ring_refs,
)
from hvsim.errors import BrokenByPeer

PAGE = 4096


class Ring:
    def __init__(self, pages: int = 1, snaplen: int = 1 << 17) -> None:
        self.memory = memoryview(mmap.mmap(-1, (1 + pages) * PAGE))
        self.words = self.memory[:PAGE].cast("I")
        self.writer = CaptureWriter(self.memory, list(range(9, 9 + pages)), snaplen)
        self.reader = CaptureReader(self.memory[:PAGE], self.memory[PAGE:])

    def put(self, frame: bytes, sent: bool = True, **more: int) -> bool:
        return self.writer.record(frame, sent=sent, time_ns=more.get("at", 1), queue=0)

    def get(self) -> list[Record]:
        return list(records(self.reader.take()))


def test_a_frame_comes_out_as_it_went_in() -> None:
    ring = Ring(2)
    vnet = bytes(range(10))
    assert ring.writer.record(b"frame", sent=False, time_ns=1 << 60, vnet=vnet, queue=3)
    assert ring.get() == [Record(1 << 60, False, 3, vnet, 5, b"frame", 0)]
    assert ring.get() == []
    assert ring_refs(ring.memory[:PAGE]) == [9, 10]


def test_a_long_frame_is_cut_and_says_how_long_it_was() -> None:
    ring = Ring(1, snaplen=10)
    ring.put(bytes(range(100)))
    (record,) = ring.get()
    assert (record.data, record.length) == (bytes(range(10)), 100)


def test_a_frame_without_room_is_counted_and_told_with_the_next() -> None:
    """The writer never waits for the reader."""
    ring = Ring(1)
    found = [ring.put(bytes([n]) * 1000) for n in range(10)]
    assert found == [True] * 3 + [False] * 7
    assert (ring.reader.seen, ring.reader.dropped) == (10, 7)
    assert [record.missed for record in ring.get()] == [0, 0, 0]
    ring.put(b"next")
    assert [(record.data, record.missed) for record in ring.get()] == [(b"next", 7)]


@given(st.lists(st.tuples(st.integers(0, 1500), st.booleans()), max_size=60), st.randoms())
def test_any_pace_of_the_reader(frames: list[tuple[int, bool]], dice: random.Random) -> None:
    """What came out is what went in, in order; the rest is counted. The ring wraps many times."""
    ring = Ring(1)
    went, came = [], []
    for number, (length, look) in enumerate(frames):
        frame = dice.randbytes(length)
        if ring.put(frame, at=number):
            went.append((number, frame))
        if look:
            came += ring.get()
    came += ring.get()
    assert [(record.time_ns, record.data) for record in came] == went
    assert ring.reader.dropped == len(frames) - len(went)


def test_indices_wrap_at_32_bits() -> None:
    ring = Ring(1)
    start = (1 << 32) - 64
    ring.writer.prod = ring.reader.cons = start
    ring.words[PROD] = ring.words[CONS] = start
    for number in range(5):
        assert ring.put(bytes([number]) * 100)
        assert [record.data for record in ring.get()] == [bytes([number]) * 100]


@pytest.mark.parametrize("pages", [0, 3, MAX_PAGES * 2])
def test_a_ring_has_a_power_of_two_of_pages(pages: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        CaptureWriter(memoryview(bytearray((1 + pages) * PAGE)), list(range(pages)), 10)


# -- hostile halves -----------------------------------------------------------------------------


@pytest.mark.parametrize("cons", [1 << 31, 4097, 0xFFFF_F000])
def test_a_reader_that_lies_stops_the_capture(cons: int) -> None:
    """It gets no frame more, and the writer writes nowhere."""
    ring = Ring(1)
    ring.put(b"x" * 100)
    before = bytes(ring.memory[PAGE:])
    ring.words[CONS] = cons
    for _ in range(100):
        assert not ring.put(b"y" * 100)
    assert ring.writer.broken
    assert bytes(ring.memory[PAGE:]) == before


@pytest.mark.parametrize("prod", [4097, 1 << 31, 0xFFFF_FFFF])
def test_a_writer_that_lies_is_found_out(prod: int) -> None:
    ring = Ring(1)
    ring.words[PROD] = prod
    with pytest.raises(BrokenByPeer, match="out of range"):
        ring.reader.take()


@pytest.mark.parametrize(("word", "value"), [(0, 7), (1, 0), (1, 3), (1, 1024), (1, 0xFFFF_FFFF)])
def test_a_page_that_is_no_ring(word: int, value: int) -> None:
    ring = Ring(1)
    ring.words[word] = value
    with pytest.raises(BrokenByPeer, match="not that of a capture ring"):
        ring_refs(ring.memory[:PAGE])


def test_the_references_fit_the_page() -> None:
    assert (GREFS + MAX_PAGES) * 4 <= PAGE


@pytest.mark.parametrize(
    ("size", "length", "kept"),
    [(0, 5, 5), (40, 5, 5), (56, 5, 5), (48, 4, 5), (48, 1 << 31, 5), (0xFFFF_FFF8, 5, 5),
     (1 << 20, 5, 5)],
)  # fmt: skip
def test_a_record_that_cannot_be(size: int, length: int, kept: int) -> None:
    good = RECORD.pack(48, 5, 0, 5, 0, 0, bytes(10), 0, 0) + b"frame".ljust(8, b"\0")
    bad = RECORD.pack(size, length, 0, kept, 0, 0, bytes(10), 0, 0) + bytes(8)
    taken = records(good + bad)
    assert next(taken).data == b"frame"
    with pytest.raises(BrokenByPeer):
        next(taken)


@given(st.binary(max_size=400))
def test_any_bytes_end_in_a_clear_error_or_in_records(data: bytes) -> None:
    try:
        for record in records(data):
            assert len(record.data) <= record.length
    except BrokenByPeer:
        pass


def test_the_data_is_seen_before_the_index() -> None:
    """A reader that looks at any moment between two stores finds whole records only."""
    ring = Ring(1)

    class Spy:
        """The words of the first page; looks at the ring at each store to PROD."""

        def __getitem__(self, at: int) -> int:
            return ring.words[at]

        def __setitem__(self, at: int, value: int) -> None:
            ring.words[at] = value
            if at == PROD:
                seen.extend(ring.get())

    seen: list[Record] = []
    ring.writer.words = Spy()  # type: ignore[assignment]
    frames = [struct.pack("<I", number) * 200 for number in range(50)]
    for frame in frames:
        assert ring.put(frame)
    assert [record.data for record in seen] == frames
