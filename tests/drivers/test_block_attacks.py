"""Hostile halves of the block device, by the families of the published attacks.

Raw requests against the engine, raw responses against the queue: nobody of ours is polite here.
Each refusal is checked together with what must not have happened.

Each family was seen red once by weakening the code: (a) a ring that hands out a view of the slot;
(b) a ring without the check of the peer's index; (c) an engine without the check of a segment's
last sector; (d) see the tests; (h) a pool that does not quarantine; (j) pages of one request that
are not unmapped.  (e), (f) and (i) need a store and two domains: test_block_device.py.  (g), the
exhaustion of watches, transactions and nodes, is the store's: tests/xenstore.
"""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import pytest

from hvsim.abi.blkif import (
    BLKIF_OP_INDIRECT,
    Segment,
    pack_request,
    pack_request_discard,
    pack_request_indirect,
    pack_segments,
    unpack_response,
)
from hvsim.drivers.block.image import Image
from hvsim.drivers.block.protocol import BlockError
from hvsim.drivers.block.request import READ, WRITE, Request
from hvsim.errors import BrokenByPeer
from tests.drivers.blockraw import MARK, TWINS, a_disk_of_two_halves, granted_page, raw
from tests.drivers.loopback import Loopback

__all__ = ["a_disk_of_two_halves"]


# -- (c) shape extremes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "last"), [(1, 0), (7, 6), (0, 8), (8, 8), (0, 255), (255, 255), (255, 0)]
)
@pytest.mark.parametrize("warm", [False, True])
def test_a_segment_outside_its_page(link: Loopback, first: int, last: int, warm: bool) -> None:
    """Sectors that would reach the neighbour's page; also when the page is mapped already."""
    ref = granted_page(link)
    if warm:
        assert raw(link, pack_request(READ, 0, 1, 0, [Segment(ref, 0, 7)])) == [(1, READ, 0)]
        granted_page(link)
    neighbours = [bytes(link.pools[0].pages[n]) for n in (1, 2)]
    for op in (READ, WRITE):
        assert raw(link, pack_request(op, 0, 9, 0, [Segment(ref, first, last)])) == [(9, op, -1)]
    assert bytes(link.pools[0].pages[0]) == MARK
    assert [bytes(link.pools[0].pages[n]) for n in (1, 2)] == neighbours


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize(
    "sector", [2041, 2047, 2048, 2049, 1 << 31, (1 << 55) - 1, (1 << 63) - 1, (1 << 64) - 8,
               (1 << 64) - 1]
)  # fmt: skip
def test_sectors_beyond_the_end_and_overflow(link: Loopback, sector: int, warm: bool) -> None:
    ref = granted_page(link)
    if warm:
        raw(link, pack_request(READ, 0, 1, 0, [Segment(ref, 0, 7)]))
        granted_page(link)
    for op in (READ, WRITE):
        answer = raw(link, pack_request(op, 0, 5, sector, [Segment(ref, 0, 7)]))
        assert answer == [(5, op, -1)]
    assert bytes(link.pools[0].pages[0]) == MARK
    assert Path(link.image.path).stat().st_size == 2048 * 512, "nothing grew"
    assert raw(link, pack_request(READ, 0, 6, 2040, [Segment(ref, 0, 7)])) == [(6, READ, 0)]


@pytest.mark.parametrize("count", [0, 12, 13, 255])
def test_a_number_of_segments_that_cannot_be(link: Loopback, count: int) -> None:
    ref = granted_page(link)
    request = bytearray(pack_request(READ, 0, 3, 0, [Segment(ref, 0, 7)] * 11))
    request[1] = count
    assert raw(link, bytes(request)) == [(3, READ, -1)]
    assert bytes(link.pools[0].pages[0]) == MARK


@pytest.mark.parametrize("count", [0, 257, 512, 513, 0xFFFF])
def test_an_indirect_count_that_cannot_be(link: Loopback, count: int) -> None:
    ref = granted_page(link)
    request = pack_request_indirect(READ, 0, 4, 0, count, [ref] * 8)
    assert raw(link, request) == [(4, READ, -1)]
    assert bytes(link.pools[0].pages[0]) == MARK


def test_one_segment_more_than_was_offered(link: Loopback) -> None:
    """256 segments are served, 257 that are as good are not.

    Seen red with the engine's limit one higher, and with the compiled path's.
    """
    data = [granted_page(link, page) for page in range(257)]
    packed = pack_segments([Segment(ref, 0, 0) for ref in data])
    frame = granted_page(link, 300)
    link.pools[0].pages[300][: len(packed)] = packed
    # From here on all of them are mapped: the compiled path serves what it takes for good.
    assert raw(link, pack_request(READ, 0, 1, 0, [Segment(data[-1], 0, 0)])) == [(1, READ, 0)]
    assert raw(link, pack_request_indirect(READ, 0, 2, 0, 256, [frame])) == [(2, READ, 0)]
    for page in range(257):
        granted_page(link, page)
    assert raw(link, pack_request_indirect(READ, 0, 3, 0, 257, [frame])) == [(3, READ, -1)]
    assert {bytes(link.pools[0].pages[page]) for page in range(257)} == {MARK}
    assert raw(link, pack_request_indirect(READ, 0, 4, 0, 256, [frame])) == [(4, READ, 0)]
    read = [bytes(link.pools[0].pages[page][:512]) == bytes(512) for page in range(257)]
    assert read == [True] * 256 + [False]


@pytest.mark.parametrize("rings", TWINS)
def test_a_read_only_disk_is_not_written_whatever_its_descriptor_could(
    tmp_path: Path, rings: tuple[Any, Any]
) -> None:
    """The mode of the disk decides, not that of the descriptor below it.

    Seen red without the check of ``readonly`` in the compiled path, and in the engine.
    """

    class Writable(Image):
        def __init__(self, path: str, readonly: bool) -> None:
            super().__init__(path, False)
            self.readonly = readonly

    link = Loopback(tmp_path / "disk.img", rings=rings, readonly=True, image=Writable)
    ref = granted_page(link)
    read = pack_request(READ, 0, 1, 0, [Segment(ref, 0, 7)])
    assert raw(link, read) == [(1, READ, 0)]  # the page is mapped from here on: the fast path
    granted_page(link)
    write = pack_request(WRITE, 0, 2, 0, [Segment(ref, 0, 7)])
    assert raw(link, write) == [(2, WRITE, -1)]
    assert link.image.readonly
    assert (tmp_path / "disk.img").read_bytes()[:4096] == bytes(4096)
    link.close()


@pytest.mark.parametrize("inner", [2, 3, 4, 5, 6, 7, 255])
def test_an_indirect_request_of_another_kind(link: Loopback, inner: int) -> None:
    data, ref = granted_page(link), granted_page(link, 1)
    packed = pack_segments([Segment(data, 0, 0)])  # all else is as it should be
    link.pools[0].pages[1][: len(packed)] = packed
    assert raw(link, pack_request_indirect(inner, 0, 4, 0, 1, [ref])) == [(4, inner, -1)]


@pytest.mark.parametrize("warm", [False, True])
def test_bad_segments_in_an_indirect_frame(link: Loopback, warm: bool) -> None:
    data, frame = granted_page(link, 0), granted_page(link, 1)
    if warm:
        for ref in (data, frame):
            raw(link, pack_request(READ, 0, 1, 0, [Segment(ref, 0, 7)]))
        granted_page(link, 0)
    for segment in (Segment(data, 3, 2), Segment(data, 0, 8), Segment(999, 0, 7)):
        packed = pack_segments([Segment(data, 0, 7), segment])
        link.pools[0].pages[1][: len(packed)] = packed
        answer = raw(link, pack_request_indirect(READ, 0, 8, 0, 2, [frame]))
        assert answer == [(8, READ, -1)]
    assert bytes(link.pools[0].pages[0]) == MARK, "no part of a bad request is done"


@pytest.mark.parametrize("op", [4, 7, 8, 100, 255])
def test_an_unknown_operation(link: Loopback, op: int) -> None:
    request = bytes([op]).ljust(8, b"\xff") + struct.pack("<Q", 77).ljust(104, b"\xff")
    assert raw(link, request) == [(77, op, -2)]


@pytest.mark.parametrize(
    ("sector", "count"), [(0, 2049), (2048, 1), (1, 1 << 63), ((1 << 64) - 1, 2), (1 << 63, 0)]
)
def test_discard_beyond_the_end(link: Loopback, sector: int, count: int) -> None:
    if not link.image.discard_granularity:
        pytest.skip("this file system cannot punch holes")
    assert raw(link, pack_request_discard(0, 2, sector, count)) == [(2, 5, -1)]
    assert raw(link, pack_request_discard(0, 2, 0, 1, flag=1)) == [(2, 5, -2)], "secure"


def test_the_sector_number_of_an_empty_flush_means_nothing(link: Loopback) -> None:
    assert raw(link, pack_request(3, 0, 1, (1 << 64) - 1)) == [(1, 3, 0)]


# -- (h), (j) grants ----------------------------------------------------------------------------


@pytest.mark.parametrize("ref", [0, 1, 7, 999, 32767, 32768, 0xFFFFFFFF])
def test_a_reference_that_is_not_granted(link: Loopback, ref: int) -> None:
    for op in (READ, WRITE):
        assert raw(link, pack_request(op, 0, 1, 0, [Segment(ref, 0, 7)])) == [(1, op, -1)]
    assert raw(link, pack_request_indirect(READ, 0, 2, 0, 1, [ref])) == [(2, READ, -1)]
    assert sum(link.table.pins.values()) == 0


@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("step", range(1, 7))
def test_a_map_that_fails_at_the_kth_step_leaks_nothing(
    tmp_path: Path, persistent: bool, step: int
) -> None:
    """XSA-365/367: the request is refused, the next one works, every other page is let go."""
    link = Loopback(tmp_path / "disk.img", persistent=persistent)
    link.table.fail_map_at = step
    statuses = []
    for number in range(4):
        request = Request(WRITE, 300 * number, 300, data=bytes([number + 1]) * (300 * 512))
        link.queue.submit(request)
        link.pump()
        statuses.append(request.status)
    assert statuses.count(-1) == (step <= link.table.map_calls)
    assert sum(link.table.pins.values()) == len(link.pages)
    link.pages.close()
    assert sum(link.table.pins.values()) == 0
    link.image.close()


def test_persistent_grants_are_bounded(tmp_path: Path) -> None:
    """A frontend with endless references costs the backend no more than its table."""
    link = Loopback(tmp_path / "disk.img")
    link.pages.capacity = 16
    refs = [link.pools[0].ref(page) for page in range(64)]
    for ref in refs:
        assert raw(link, pack_request(READ, 0, ref, 0, [Segment(ref, 0, 7)])) == [(ref, READ, 0)]
        assert len(link.pages) <= 16
        # The first one is used again and again: it must stay.
        raw(link, pack_request(READ, 0, 0, 0, [Segment(refs[0], 0, 7)]))
    assert link.table.pins[refs[0]] == 1
    assert sum(link.table.pins.values()) == 16
    link.close()


def test_a_read_only_page_is_not_written(tmp_path: Path) -> None:
    """A read of the disk into a page that was granted read-only."""
    link = Loopback(tmp_path / "disk.img", persistent=False)
    ref = link.pools[1].ref(0)
    link.pools[1].pages[0][:] = MARK
    assert raw(link, pack_request(READ, 0, 1, 0, [Segment(ref, 0, 7)])) == [(1, READ, -1)]
    assert bytes(link.pools[1].pages[0]) == MARK
    assert raw(link, pack_request(WRITE, 0, 2, 0, [Segment(ref, 0, 7)])) == [(2, WRITE, 0)]
    link.close()


def test_a_page_that_the_backend_holds_on_to_is_not_used_again(tmp_path: Path) -> None:
    """XSA-396: the backend says it is done and keeps the page mapped."""
    link = Loopback(tmp_path / "disk.img", persistent=False, pool_pages=8)
    request = Request(READ, 0, 8)
    link.queue.submit(request)
    page = link.queue.under_way[0].pages[0]
    held = link.table.map_many(0, [link.pools[0].ref(page)], False)
    link.back()
    link.queue.complete()
    with pytest.raises(BlockError):
        request.result()
    assert link.pools[0].quarantined == [page]
    for _ in range(20):
        again = Request(READ, 0, 8)
        link.queue.submit(again)
        assert page not in link.queue.under_way[max(link.queue.under_way)].pages
        link.pump()
        assert again.status == 0
    link.table.unmap_many(held)
    link.close()


# -- (a) flip after check, (b) index warp, leaks ------------------------------------------------


def test_flip_after_check(link: Loopback) -> None:
    """XSA-155: a slot that changes between check and use.  The engine has one copy; what the
    page says afterwards, in any interleaving, does not reach it."""
    ref = granted_page(link)
    link.front_ring.produce(pack_request(WRITE, 0, 1, 0, [Segment(ref, 0, 0)]))
    link.front_ring.push()
    link.service.serve_natively = None
    consume = link.back_ring.consume

    class Flipping:
        def __getattr__(self, name: str) -> Any:
            return getattr(link.back_ring, name)

        def consume(self) -> bytes | None:
            copy: bytes | None = consume()
            if copy is not None:
                link.page.memory[64 : 64 + 112] = b"\xff" * 112
            return copy

    link.service._ring = Flipping()  # type: ignore[assignment]
    link.back()
    response = link.front_ring.consume()
    assert response is not None
    assert tuple(unpack_response(response)) == (1, WRITE, 0)
    assert Path(link.image.path).read_bytes()[:1024] == MARK[:512] + bytes(512)


@pytest.mark.parametrize("ahead", [33, 1000, 0x80000000, 0xFFFFFFFF])
def test_index_warp_reaches_the_owner_as_broken(link: Loopback, ahead: int) -> None:
    struct.pack_into("=I", link.page.memory, 0, ahead)
    with pytest.raises(BrokenByPeer):
        link.back()


def test_responses_carry_no_old_bytes(link: Loopback) -> None:
    """XSA-216: padding of a response is zero, and only its 16 bytes of the slot are written."""
    ref = granted_page(link)
    link.page.memory[64:] = b"\xee" * (len(link.page.memory) - 64)
    link.front_ring.produce(pack_request(READ, 0, 0x1122334455667788, 0, [Segment(ref, 0, 7)]))
    before = link.page.memory[64 + 16 : 64 + 112]
    link.front_ring.push()
    link.back()
    slot = link.page.memory[64 : 64 + 112]
    assert slot[:16] == struct.pack("<QBxhxxxx", 0x1122334455667788, READ, 0)
    assert slot[16:] == before


def test_random_requests_never_hurt_the_backend(link: Loopback) -> None:
    """Any 112 bytes get an answer of their own id, and the image keeps its size."""
    dice = random.Random(11)
    refs = [granted_page(link, page) for page in range(4)]
    for number in range(1500):
        slot = bytearray(dice.randbytes(112))
        slot[0] = dice.choice([0, 1, 2, 3, 5, 6, slot[0]])
        slot[1] = dice.choice([0, 1, 2, 11, slot[1]])
        struct.pack_into("<Q", slot, 8, number)
        if dice.random() < 0.7:
            struct.pack_into("<Q", slot, 16, dice.randrange(4096))
            struct.pack_into("<I", slot, 24, dice.choice(refs))
            slot[28:30] = bytes([dice.randrange(10), dice.randrange(10)])
        (answer,) = raw(link, bytes(slot))
        assert answer[0] == number
        assert answer[1] == (slot[1] if slot[0] == BLKIF_OP_INDIRECT else slot[0])
        assert answer[2] in (0, -1, -2)
    assert Path(link.image.path).stat().st_size == 2048 * 512
    assert len(link.log) <= 11, "a frontend cannot fill the log"
