"""Hostile backends of a vif: answers and extra infos that cannot be."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator

import pytest

from tests.drivers.rawnet import (
    ERROR,
    EXTRA_HASH,
    NULL,
    OKAY,
    RSP_PROD,
    RX_CSUM_BLANK,
    RX_EXTRA,
    RX_MORE,
    SLOTS,
    extra,
    extra_gso,
    rx_response,
    tx_response,
)
from tests.drivers.villain_back import FRAME, Attacked, sent
from tests.support.hv import Hypervisor


@pytest.fixture
def net(hv: Hypervisor) -> Iterator[Attacked]:
    with contextlib.closing(Attacked(hv)) as made:
        yield made


# -- (c) shape extremes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "status"),
    [(0, 4097), (4095, 60), (4096, 1), (0xFFFF, 60), (0, 32767), (0xFFFF, 32767), (4090, 14)],
)
def test_a_piece_beyond_its_page(net: Attacked, offset: int, status: int) -> None:
    """XSA-376: bytes of the guest's other pages must not become a frame.

    Red without the comparison with the page's size.
    """
    net.enter()
    net.respond(rx_response(0, offset, 0, status))
    net.refused()
    net.works()
    net.served()


@pytest.mark.parametrize("status", [-1, -2, -32768, 0, 1, 13])
def test_an_error_and_a_frame_that_is_too_short(net: Attacked, status: int) -> None:
    """Red without the comparison with an Ethernet header."""
    net.enter()
    net.respond(rx_response(0, 0, 0, status))
    net.refused()
    net.works()
    net.served()


@pytest.mark.parametrize("slots", [19, 20, 64, SLOTS])
def test_too_many_slots(net: Attacked, slots: int) -> None:
    """A chain longer than any frame, up to the whole ring; red without the limit."""
    net.enter()
    chain = [rx_response(0, 0, RX_MORE, 100) for _ in range(slots - 1)]
    net.respond(*chain, rx_response(0, 0, 0, 100))
    net.refused()
    net.works()
    net.served()


@pytest.mark.parametrize("flags", [RX_MORE, RX_EXTRA, RX_MORE | RX_EXTRA])
def test_a_frame_that_never_ends(net: Attacked, flags: int) -> None:
    """More is promised and nothing follows: the pages come back, nobody waits.

    Red when the pages of such a frame are forgotten (the ring runs dry).
    """
    net.enter()
    for _ in range(2 * SLOTS):
        net.respond(rx_response(0, 0, flags, 100))
        net.turn(0.0)
    net.refused()
    net.works()
    net.served()


@pytest.mark.parametrize(
    ("slots", "errors"),
    [
        ([extra(0)], 2),
        ([extra(9)], 2),
        ([extra(255)], 2),
        ([extra_gso(0)], 1),
        ([extra_gso(1448, 0)], 1),
        ([extra_gso(1448, 7)], 1),
        ([extra_gso(1, 1)], 1),
        ([extra_gso(1448, more=True), extra_gso(0)], 1),
        ([extra(EXTRA_HASH, b"\xff" * 6, more=True), extra(0)], 2),
    ],
)
def test_an_extra_info_that_cannot_be(net: Attacked, slots: list[bytes], errors: int) -> None:
    """The whole packet is the backend's error, and nothing of it reaches the stack of the guest.

    *errors*: the packet is no TCP whose checksum could be left out; a type that there is not is one
    of its own.  Red when such a type is passed over, or a GSO info is believed.
    """
    net.enter()
    net.raw.offered()
    _, ref = net.raw.requests[0]
    net.raw.poke(ref, FRAME)
    net.respond(rx_response(0, 0, RX_EXTRA | RX_CSUM_BLANK, len(FRAME)), *slots)
    net.rest(60)
    assert net.errors_counted() == errors
    assert net.stack.receive() == []
    net.works()
    net.served()


def test_extra_infos_without_end(net: Attacked) -> None:
    """They use up the ring; the pages come back.  Red when they are forgotten."""
    net.enter()
    for _ in range(3):
        net.respond(rx_response(0, 0, RX_EXTRA, 60), *[extra_gso(1448, more=True)] * (SLOTS // 2))
        net.rest(10)
    assert net.stack.frames() == []
    net.works()
    net.served()


def test_answers_in_any_order_of_ids(net: Attacked) -> None:
    """The place in the ring counts, not the id: no page is delivered twice.

    Red when the id of the answer is believed.
    """
    net.enter()
    net.raw.offered()
    refs = [ref for _, ref in net.raw.requests[:4]]
    for number, ref in enumerate(refs):
        net.raw.poke(ref, FRAME[:14] + bytes([number]) * 46)
    net.respond(*[rx_response(ident, 0, 0, 60) for ident in (77, 0xFFFF, 0, 0)])
    seen: list[int] = []

    def four() -> bool:
        seen.extend(frame[20] for frame in net.stack.frames())
        return len(seen) >= 4

    net.run(four, "four frames")
    assert seen == [0, 1, 2, 3]
    net.works()
    net.served()


# -- TX answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [1, 256, 0x8000, 0xFFFF])
def test_an_answer_for_what_was_not_asked(net: Attacked, wrong: int) -> None:
    """XSA-376: an id that is not out frees no page twice.  Red without the set of those out."""
    net.enter()
    ident, _ = sent(net)
    net.raw.tx.put(tx_response((ident + wrong) & 0xFFFF, OKAY))
    net.raw.tx.publish(RSP_PROD)
    net.raw.ring_bell()
    net.given_up()
    net.served()


def test_the_same_answer_twice(net: Attacked) -> None:
    """Red without the set of those out: one page for two frames."""
    net.enter()
    idents = [sent(net)[0] for _ in range(2)]
    for _ in range(2):
        net.raw.tx.put(tx_response(idents[0], OKAY))
    net.raw.tx.publish(RSP_PROD)
    net.raw.ring_bell()
    net.given_up()
    net.served()


@pytest.mark.parametrize("status", [ERROR, -2, -100, 5, 32767])
def test_any_status_frees_the_request(net: Attacked, status: int) -> None:
    """A refusal costs its frame, not the ring."""
    net.enter()
    for _ in range(2 * SLOTS):
        ident, _ = sent(net)
        net.raw.tx.put(tx_response(ident, status))
        net.raw.tx.publish(RSP_PROD)
        net.raw.ring_bell()
        net.turn(0.0)
    net.works()
    net.served()


def test_answers_that_are_none(net: Attacked) -> None:
    """NULL for every request: its pages are in doubt for ever, none is used for another frame, and
    the ring runs dry in order.

    Red when the page of such an answer is used again.
    """
    net.enter()
    granted: list[int] = []
    for _ in range(2 * SLOTS):
        net.stack.send(FRAME)
        net.turn(0.0)
        for slot in net.raw.sent():
            granted.append(struct.unpack_from("<I", slot)[0])
            net.raw.tx.put(tx_response(0, NULL))
        net.raw.tx.publish(RSP_PROD)
        net.raw.ring_bell()
        net.turn(0.0)
    assert SLOTS // 2 < len(set(granted)) == len(granted) <= SLOTS
    net.stack.send(FRAME)
    net.turn(0.0)
    assert net.raw.sent() == []
    assert net.state(net.front) == "4"
    net.served()
