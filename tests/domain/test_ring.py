"""The ring: both implementations side by side, byte for byte, the index wrap included."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest

from hvsim import native
from hvsim.abi.ring import ring_size
from hvsim.domain.ring import PyBackRing, PyFrontRing, RingFull
from hvsim.errors import BrokenByPeer

PAGE = 4096
REQUEST, RESPONSE = 112, 16
WRAP_STARTS = [0, 1, 0xFFFFFFF0, 0xFFFFFFFF, 0x7FFFFFFF]
_native = native.load()

IMPLEMENTATIONS: list[Any] = [pytest.param((PyFrontRing, PyBackRing), id="python")]
if _native is not None:
    IMPLEMENTATIONS.append(pytest.param((_native.FrontRing, _native.BackRing), id="native"))


class Pair:
    """A front and a back over one page."""

    def __init__(self, front: Any, back: Any, start: int = 0, nr_bytes: int = PAGE) -> None:
        self.page = bytearray(b"\xa5" * nr_bytes)
        self.front = front(memoryview(self.page), REQUEST, RESPONSE, start=start)
        self.back = back(memoryview(self.page), REQUEST, RESPONSE, start=start)

    def poke(self, index: int, value: int) -> None:
        struct.pack_into("=I", self.page, index * 4, value & 0xFFFFFFFF)

    def peek(self, index: int) -> int:
        return int(struct.unpack_from("=I", self.page, index * 4)[0])


@pytest.fixture(params=IMPLEMENTATIONS)
def kinds(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    return request.param  # type: ignore[no-any-return]


def _request(number: int) -> bytes:
    return struct.pack("=Q", number).ljust(REQUEST, b"q")


def _response(number: int) -> bytes:
    return struct.pack("=Q", number).ljust(RESPONSE, b"r")


@pytest.mark.parametrize(("order", "slots"), [(0, 32), (1, 64), (2, 128), (3, 256), (4, 512)])
def test_slots_of_a_block_ring_are_those_of_linux(order: int, slots: int) -> None:
    assert ring_size(PAGE << order, REQUEST) == slots


@pytest.mark.parametrize(("nr_bytes", "slot"), [(64, 1), (0, 8), (175, 112), (64, 4096)])
def test_a_page_without_room_for_one_slot_is_refused(
    kinds: tuple[Any, Any], nr_bytes: int, slot: int
) -> None:
    assert ring_size(nr_bytes, slot) == 0
    for kind in kinds:
        with pytest.raises(ValueError, match="too small"):
            kind(memoryview(bytearray(nr_bytes)), slot, slot)


def test_a_read_only_page_is_refused(kinds: tuple[Any, Any]) -> None:
    for kind in kinds:
        with pytest.raises(BufferError):
            kind(memoryview(bytes(PAGE)), REQUEST, RESPONSE)


def test_the_front_initialises_the_header_and_leaves_the_slots(kinds: tuple[Any, Any]) -> None:
    pair = Pair(*kinds)
    assert pair.page[:64] == struct.pack("=IIII", 0, 1, 0, 1).ljust(64, b"\0")
    assert pair.page[64:] == b"\xa5" * (PAGE - 64)


def test_the_back_attaches_without_writing(kinds: tuple[Any, Any]) -> None:
    page = bytearray(b"\x11" * PAGE)
    kinds[1](memoryview(page), REQUEST, RESPONSE)
    assert page == b"\x11" * PAGE


@pytest.mark.parametrize("start", WRAP_STARTS)
def test_three_full_turns_in_order(kinds: tuple[Any, Any], start: int) -> None:
    pair = Pair(*kinds, start=start)
    size = pair.front.size
    for turn in range(3):
        for number in range(size):
            pair.front.produce(_request(turn * size + number))
        assert pair.front.free == 0
        with pytest.raises(RingFull):
            pair.front.produce(_request(0))
        assert pair.back.consume() is None, "unpublished requests are not there"
        assert pair.front.push()
        for number in range(size):
            assert pair.back.consume() == _request(turn * size + number)
            pair.back.produce(_response(turn * size + number))
        assert pair.back.consume() is None
        with pytest.raises(RingFull):
            pair.back.produce(_response(0))
        assert pair.front.consume() is None, "unpublished responses are not there"
        assert not pair.back.final_check()
        assert pair.back.push()
        for number in range(size):
            assert pair.front.consume() == _response(turn * size + number)
        assert pair.front.consume() is None
        assert not pair.front.final_check()
        assert pair.front.free == size


def test_a_busy_backend_is_not_woken_again(kinds: tuple[Any, Any]) -> None:
    pair = Pair(*kinds)
    pair.front.produce(_request(1))
    assert pair.front.push(), "the sleeper asked for request 1"
    pair.front.produce(_request(2))
    assert not pair.front.push(), "it is awake and has not asked again"
    assert pair.back.consume() == _request(1)
    assert pair.back.final_check(), "request 2 came before the backend slept"
    assert pair.back.consume() == _request(2)
    assert not pair.back.final_check()
    pair.front.produce(_request(3))
    assert pair.front.push(), "now it sleeps"


def test_a_frontend_may_ask_for_a_later_response(kinds: tuple[Any, Any]) -> None:
    """rsp_event further ahead means: wake me after that many (xen/io/ring.h)."""
    pair = Pair(*kinds)
    for number in range(4):
        pair.front.produce(_request(number))
    pair.front.push()
    pair.poke(3, 3)
    woken = []
    for number in range(4):
        pair.back.consume()
        pair.back.produce(_response(number))
        woken.append(pair.back.push())
    assert woken == [False, False, True, False]


def test_pushing_nothing_wakes_nobody(kinds: tuple[Any, Any]) -> None:
    pair = Pair(*kinds)
    assert not pair.front.push()
    assert not pair.back.push()


@pytest.mark.parametrize("start", WRAP_STARTS)
@pytest.mark.parametrize("ahead", [33, 34, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_index_warp_of_a_frontend(kinds: tuple[Any, Any], start: int, ahead: int) -> None:
    """Attack family (b), XSA-86: a request producer that no honest frontend can have."""
    pair = Pair(*kinds, start=start)
    pair.poke(0, start + ahead)
    for look in (pair.back.consume, pair.back.final_check):
        with pytest.raises(BrokenByPeer):
            look()
    assert pair.back.req_cons == start, "nothing was consumed"


def test_a_frontend_may_not_run_over_its_own_unanswered_requests(kinds: tuple[Any, Any]) -> None:
    pair = Pair(*kinds)
    pair.poke(0, 32)
    for _ in range(5):
        assert pair.back.consume() is not None
    pair.poke(0, 33)
    with pytest.raises(BrokenByPeer):
        pair.back.consume()
    pair.poke(0, 4)
    with pytest.raises(BrokenByPeer):
        pair.back.consume()


@pytest.mark.parametrize("start", WRAP_STARTS)
@pytest.mark.parametrize("ahead", [3, 32, 33, 0x80000000, 0xFFFFFFFF])
def test_index_warp_of_a_backend(kinds: tuple[Any, Any], start: int, ahead: int) -> None:
    """More responses than requests are out, or an index that runs backwards."""
    pair = Pair(*kinds, start=start)
    pair.front.produce(_request(0))
    pair.front.produce(_request(1))
    pair.front.push()
    pair.poke(2, start + ahead)
    for look in (pair.front.consume, pair.front.final_check):
        with pytest.raises(BrokenByPeer):
            look()
    assert pair.front.rsp_cons == start


def test_own_indices_are_not_read_back_from_the_page(kinds: tuple[Any, Any]) -> None:
    """XSA-155: what the peer can write is no place to keep our own state."""
    pair = Pair(*kinds)
    pair.front.produce(_request(1))
    pair.front.push()
    pair.back.consume()
    pair.back.produce(_response(1))
    pair.back.push()
    pair.poke(2, 0x55555555)  # the frontend scribbles over the backend's word
    pair.front.produce(_request(2))
    pair.front.push()
    assert pair.back.consume() == _request(2)
    pair.back.produce(_response(2))
    pair.back.push()
    assert pair.peek(2) == 2


def test_a_consumed_slot_is_a_private_copy(kinds: tuple[Any, Any]) -> None:
    """Attack family (a), flip after check: the copy does not follow the page."""
    pair = Pair(*kinds)
    pair.front.produce(_request(7))
    pair.front.push()
    copy = pair.back.consume()
    pair.page[64 : 64 + REQUEST] = b"\xff" * REQUEST
    assert copy == _request(7)


def test_a_slot_takes_no_more_than_its_bytes(kinds: tuple[Any, Any]) -> None:
    pair = Pair(*kinds)
    with pytest.raises(ValueError, match="112 bytes"):
        pair.front.produce(bytes(REQUEST + 1))
    pair.front.produce(_request(1))
    pair.front.push()
    pair.back.consume()
    with pytest.raises(ValueError, match="16 bytes"):
        pair.back.produce(bytes(RESPONSE + 1))


def test_a_released_ring_raises(kinds: tuple[Any, Any]) -> None:
    pair = Pair(*kinds)
    pair.front.release()
    pair.back.release()
    for use in (pair.front.push, pair.front.consume, pair.back.final_check):
        with pytest.raises(ValueError, match="released"):
            use()
    pair.page.extend(b"x")  # no export of the page is left


@pytest.mark.skipif(_native is None, reason="the compiled helper is not built")
@pytest.mark.parametrize("start", WRAP_STARTS)
def test_both_implementations_write_the_same_bytes(start: int) -> None:
    """The same random steps on both: same answers, same page after every step."""
    assert _native is not None
    dice = random.Random(start)
    python = Pair(PyFrontRing, PyBackRing, start)
    compiled = Pair(_native.FrontRing, _native.BackRing, start)
    steps = ["request", "push requests", "take", "answer", "push responses", "collect", "rearm"]
    for number in range(5000):
        step = dice.choice(steps)
        answers = []
        for pair in (python, compiled):
            answers.append(_step(pair, step, number))
        assert answers[0] == answers[1], (number, step)
        assert python.page == compiled.page, (number, step)


def _step(pair: Pair, step: str, number: int) -> object:
    try:
        match step:
            case "request":
                return pair.front.produce(_request(number))
            case "push requests":
                return pair.front.push()
            case "take":
                return pair.back.consume()
            case "answer":
                return pair.back.produce(_response(number))
            case "push responses":
                return pair.back.push()
            case "collect":
                return pair.front.consume()
            case _:
                return (pair.front.final_check(), pair.back.final_check())
    except RingFull as full:
        return str(full)


def test_the_page_is_shown_until_the_ring_is_released(kinds: tuple[Any, Any]) -> None:
    """For who breaks the rules: the very bytes, and nothing stays held by a view that was given
    back."""
    pair = Pair(*kinds)
    for half in (pair.front, pair.back):
        assert half.slot_size == REQUEST
        with half.page as page:
            assert (page.nbytes, page.readonly) == (PAGE, False)
            page[100] = 7
        assert pair.page[100] == 7
        half.release()
        with pytest.raises(ValueError, match="released"):
            _ = half.page
