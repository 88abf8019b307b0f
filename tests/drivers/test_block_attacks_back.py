"""A disk whose other half never comes to an end, or answers what was not asked.

The families are those of test_block_attacks.py, which has the requests of hostile frontends.
"""

from __future__ import annotations

import struct

import pytest

from hvsim.abi.blkif import (
    Segment,
    pack_request,
    pack_response,
)
from hvsim.drivers.block.protocol import BlockBroken, BlockError
from hvsim.drivers.block.request import READ, WRITE, Request
from hvsim.errors import BrokenByPeer
from tests.drivers.blockraw import a_disk_of_two_halves, granted_page
from tests.drivers.loopback import Loopback

__all__ = ["a_disk_of_two_halves"]


# -- (d) never consume --------------------------------------------------------------------------


def test_a_frontend_that_takes_no_answers(link: Loopback) -> None:
    """XSA-392: ten rings full of requests over answers nobody took; nothing piles up behind.

    Red when the backend's ring refuses a frontend that is a whole ring ahead of its answers.
    """
    ref, size = granted_page(link), link.back_ring.size
    for number in range(10 * size):
        at = 64 + number % size * 112
        raw = pack_request(READ, 0, number, 0, [Segment(ref, 0, 7)])
        link.page.memory[at : at + len(raw)] = raw
        if (number + 1) % size == 0:
            struct.pack_into("=I", link.page.memory, 0, number + 1)
            assert not link.back()
    assert link.service.statistics().requests == 10 * size
    assert struct.unpack_from("=I", link.page.memory, 8) == (10 * size,)
    assert sum(link.table.pins.values()) == len(link.pages) == 1


def test_a_backend_that_takes_no_requests(link: Loopback) -> None:
    """A ring full is on its way and no more; the rest waits, and all are done when it wakes.

    Red when the queue does not look for a free slot: the ring refuses, and the guest fails.
    """
    size = link.front_ring.size
    requests = [Request(READ, 8 * (number % 200), 8) for number in range(10 * size)]
    for request in requests:
        link.queue.submit(request)
        assert link.queue.in_flight <= size
    assert link.queue.in_flight == size
    assert not any(request.done for request in requests)
    link.pump()
    assert all(request.status == 0 for request in requests)


# -- hostile backends ---------------------------------------------------------------------------


def _answer(link: Loopback, *responses: bytes) -> None:
    while link.back_ring.consume() is not None:
        pass
    for response in responses:
        link.back_ring.produce(response)
    link.back_ring.push()


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (pack_response(99, READ, 0), "incorrect id"),
        (pack_response((1 << 64) - 1, READ, 0), "incorrect id"),
        (pack_response(0, WRITE, 0), "wrong operation"),
        (pack_response(0, 255, 0), "wrong operation"),
    ],
)
def test_a_response_to_nothing_that_was_asked(link: Loopback, response: bytes, text: str) -> None:
    request = Request(READ, 0, 8)
    link.queue.submit(request)
    _answer(link, response)
    with pytest.raises(BrokenByPeer, match=text):
        link.queue.complete()
    assert not request.done
    link.queue.fail_all(BlockBroken, "the backend broke the protocol")
    with pytest.raises(BlockBroken):
        request.result()


def test_the_same_answer_twice(link: Loopback) -> None:
    for _ in range(2):
        link.queue.submit(Request(READ, 0, 8))
    _answer(link, pack_response(0, READ, 0), pack_response(0, READ, 0))
    with pytest.raises(BrokenByPeer, match="incorrect id"):
        link.queue.complete()


def test_more_answers_than_requests(link: Loopback) -> None:
    link.queue.submit(Request(READ, 0, 8))
    struct.pack_into("=I", link.page.memory, 8, 2)
    with pytest.raises(BrokenByPeer):
        link.queue.complete()


@pytest.mark.parametrize("status", [1, -3, 32767, -32768])
def test_a_status_that_is_none_is_a_failure(link: Loopback, status: int) -> None:
    """XSA-316: a number that is not an error number must not pass for success."""
    request = Request(READ, 0, 8)
    link.queue.submit(request)
    _answer(link, pack_response(0, READ, status))
    link.queue.complete()
    with pytest.raises(BlockError):
        request.result()
