"""Hostile frontends of a vif: requests and extra infos that cannot be."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator

import pytest

from tests.drivers.rawnet import (
    EXTRA_GSO,
    EXTRA_HASH,
    EXTRA_MORE,
    NULL,
    OKAY,
    PAGE,
    SLOTS,
    TX_CSUM_BLANK,
    TX_EXTRA,
    TX_MORE,
    extra,
    extra_gso,
    tx_request,
)
from tests.drivers.villain_front import FRAME, REFUSED, Attacked, one, works
from tests.observe.frames import ACK, PSH, tcp
from tests.support.hv import Hypervisor


@pytest.fixture
def net(hv: Hypervisor) -> Iterator[Attacked]:
    with contextlib.closing(Attacked(hv)) as made:
        yield made


# -- (c) shape extremes -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 13])
def test_a_frame_that_is_too_short(net: Attacked, size: int) -> None:
    """XSA-448: requests of no length; and less than an Ethernet header.

    Red without the comparison with an Ethernet header.
    """
    net.enter()
    assert net.statuses([one(net, size)])[0] in REFUSED
    assert net.wire_out.frames() == []
    works(net)
    net.served()


def test_pieces_of_no_length(net: Attacked) -> None:
    """XSA-448: a frame with empty pieces behind it is refused, every slot of it.

    Red without the refusal of a piece of no length.
    """
    net.enter()
    empty = [tx_request(net.raw.refs[2], 0, TX_MORE, 5, 0) for _ in range(3)]
    last = tx_request(net.raw.refs[2], 0, 0, 6, 0)
    statuses = net.statuses([one(net, len(FRAME), flags=TX_MORE), *empty, last])
    assert set(statuses) <= set(REFUSED)
    assert net.wire_out.frames() == []
    works(net)
    net.served()


@pytest.mark.parametrize(
    ("offset", "size"),
    [(4095, 60), (4050, 60), (4096, 60), (0xFFFF, 60), (0, 4097), (1, 4096), (0xFFC4, 0xFFFF)],
)
def test_a_piece_beyond_its_page(net: Attacked, offset: int, size: int) -> None:
    """Bytes of whatever lies behind the page must not leave the domain.

    Red without the comparison with the page's end.
    """
    net.enter()
    net.refused_or_given_up([one(net, size, offset)])
    net.served()


@pytest.mark.parametrize("fragments", [1, 5, 17])
def test_pieces_longer_than_the_whole(net: Attacked, fragments: int) -> None:
    """XSA-432: the first slot says 60 bytes, the others together have more.

    Red when what is left of the total may fall below zero.
    """
    net.enter()
    slots = [one(net, 60, flags=TX_MORE)]
    for number in range(fragments):
        more = TX_MORE if number + 1 < fragments else 0
        slots.append(tx_request(net.raw.refs[1], 0, more, 2 + number, PAGE))
    net.refused_or_given_up(slots)
    net.served()


@pytest.mark.parametrize("slots", [19, 20, 21, 64, SLOTS])
def test_too_many_slots(net: Attacked, slots: int) -> None:
    """XSA-423/432: more pieces than any honest frame has, up to the whole ring.

    Red without the limit of 18.
    """
    net.enter()
    total = 100 + slots - 1
    chain = [one(net, total, flags=TX_MORE)]
    chain += [tx_request(net.raw.refs[1], 0, TX_MORE, 2, 1) for _ in range(slots - 2)]
    chain.append(tx_request(net.raw.refs[1], 0, 0, 2, 1))
    net.refused_or_given_up(chain)
    net.served()


def test_a_header_in_crumbs(net: Attacked) -> None:
    """XSA-423: an Ethernet and IP header of one byte a slot comes out in one piece.

    Red with a slot less, and when the first slot's own bytes are left out.
    """
    net.enter()
    pieces = 18
    data = FRAME[: pieces - 1]
    ref = net.raw.fill(1, data)
    chain = [tx_request(net.raw.fill(0, data), 0, TX_MORE, 0, len(data) + 1)]
    for number in range(1, pieces):
        more = TX_MORE if number + 1 < pieces else 0
        chain.append(tx_request(ref, number - 1, more, number, 1))
    assert net.statuses(chain) == [OKAY] * pieces
    [frame] = net.wire_out.frames()
    assert frame == data[:1] + data
    works(net)
    net.served()


def test_a_frame_that_never_ends(net: Attacked) -> None:
    """The last slot of the ring says that more follows, and nothing does: nobody waits for it.

    Red when the frame is taken for whole.
    """
    net.enter()
    net.raw.transmit([one(net, 100, flags=TX_MORE)])
    net.rest()
    assert net.wire_out.frames() == []
    net.served()
    if net.state(net.path) == "4":
        statuses = net.statuses([tx_request(net.raw.fill(1, bytes(40)), 0, 0, 2, 40)])
        assert len(statuses) >= 1


@pytest.mark.parametrize(
    "slots",
    [
        [extra(0)],
        [extra(5)],
        [extra(255)],
        [extra_gso(0)],
        [extra_gso(1448, 0)],
        [extra_gso(1448, 3)],
        [extra_gso(1448, 255)],
        [extra_gso(1, 1)],
        [extra_gso(0xFFFF, 1)],
        [extra_gso(1448, more=True), extra_gso(0)],
        [extra(EXTRA_HASH, b"\xff" * 6, more=True), extra(9)],
    ],
)
def test_an_extra_info_that_cannot_be(net: Attacked, slots: list[bytes]) -> None:
    """Unknown types, segments of no size, GSO of a frame that is no TCP: nothing comes out, whoever
    took it would believe it.

    Red without the check of the type, and without the look at the frame's own headers.
    """
    net.enter()
    net.refused_or_given_up([one(net, len(FRAME), flags=TX_EXTRA), *slots])
    net.rest()
    assert net.wire_out.receive() == []
    net.served()


@pytest.mark.parametrize(
    "info",
    [extra_gso(0), extra_gso(1448, 0), extra_gso(1448, 2), extra_gso(1448, 7)],
    ids=["no size", "no type", "TCPv6", "unknown"],
)
def test_a_large_segment_that_is_none(net: Attacked, info: bytes) -> None:
    """A sound TCP segment over IPv4, to be cut into pieces of no size, or as something else.

    Red without the checks of size and type.
    """
    net.enter()
    segment = tcp(PSH | ACK, 1, 1, bytes(2000), whole=False)
    ref = net.raw.fill(3, segment)
    first = tx_request(ref, 0, TX_EXTRA | TX_CSUM_BLANK, 1, len(segment))
    net.refused_or_given_up([first, info])
    assert net.wire_out.receive() == []
    net.served()


def test_a_large_segment_that_is_one(net: Attacked) -> None:
    """The same with what an honest guest says goes out as it is."""
    net.enter()
    segment = tcp(PSH | ACK, 1, 1, bytes(2000), whole=False)
    ref = net.raw.fill(3, segment)
    first = tx_request(ref, 0, TX_EXTRA | TX_CSUM_BLANK, 1, len(segment))
    assert net.statuses([first, extra_gso(1000)]) == [OKAY, NULL]
    ((vnet, frame),) = net.wire_out.receive()
    assert frame == segment
    assert struct.unpack("<BBHHHH", vnet) == (1, 1, 54, 1000, 34, 16)


def test_extra_infos_without_end(net: Attacked) -> None:
    """A chain of them through the whole ring, and one that breaks off at the last slot."""
    net.enter()
    chain = [extra(EXTRA_GSO, more=True)] * (SLOTS - 1)
    net.raw.transmit([one(net, 60, flags=TX_EXTRA), *chain])
    net.rest(60)
    assert net.wire_out.frames() == []
    net.served()
    assert chain[0][1] == EXTRA_MORE


def test_a_large_segment_that_says_so_of_itself(net: Attacked) -> None:
    """64 KiB minus one, in seventeen slots: the largest honest frame goes through beside all this.

    Here so that the limits above are not simply too low.
    """
    net.enter()
    frame = FRAME[:14] + bytes(0xFFFF - 14)
    slots = net.raw.frame(frame, page=4)
    assert len(slots) == 16
    assert set(net.statuses(slots)) == {OKAY}
    assert net.wire_out.frames() == [frame]
    net.served()
