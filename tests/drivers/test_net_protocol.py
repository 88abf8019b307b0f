"""A packet's slots, taken out of a TX ring: whatever they say, what is called sound is sound.

Pure: slots are bytes in a list.  Most of them are nearly honest, so that they get past the first
check and the later ones are met too.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvsim.abi.memory import PAGE_SIZE
from hvsim.abi.netif import (
    EXTRA_GSO,
    XEN_NETIF_EXTRA_TYPE_GSO,
    XEN_NETIF_GSO_TYPE_TCPV4,
    XEN_NETIF_GSO_TYPE_TCPV6,
    NETTXF_extra_info,
    NETTXF_more_data,
)
from hvsim.drivers.net.offload import (
    F_NEEDS_CSUM,
    HEADERS,
    PLAIN,
    VNET,
    Unfit,
    flow,
    ring_terms,
    vnet_header,
)
from hvsim.drivers.net.protocol import (
    ETH_HLEN,
    FATAL_SLOTS,
    MAX_EXTRAS,
    MAX_SLOTS,
    pack_tx_request,
    take_packet,
)
from hvsim.errors import BrokenByPeer

edges = st.sampled_from([0, 1, 13, 14, 15, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1, 0xFFFF])
sizes = edges | st.integers(0, 0xFFFF)


@st.composite
def nearly_honest(draw: st.DrawFn) -> list[bytes]:
    """A packet of up to 30 slots as an honest frontend writes it, but for one slot at most."""
    parts = draw(st.lists(st.integers(1, 2000), min_size=1, max_size=30))
    last = len(parts) - 1
    slots = [
        [number, 0, NETTXF_more_data if number < last else 0, number, part]
        for number, part in enumerate(parts)
    ]
    slots[0][4] = min(sum(parts), 0xFFFF)
    where = draw(st.integers(0, last))
    match draw(st.sampled_from(["nothing", "offset", "size", "total", "flags"])):
        case "offset":
            slots[where][1] = draw(sizes)
        case "size":
            slots[where][4] = draw(sizes)
        case "total":
            slots[0][4] = draw(st.just(sum(parts[1:])) | st.integers(0, 200)) & 0xFFFF
        case "flags":
            slots[where][2] = draw(st.integers(0, 15))
    return [pack_tx_request(*slot) for slot in slots]


def taker(slots: list[bytes]) -> tuple[Callable[[], bytes | None], list[bytes]]:
    """(consume, the slots that are still there)."""
    left = list(slots)
    return (lambda: left.pop(0) if left else None), left


@settings(max_examples=1500, deadline=None)
@given(nearly_honest() | st.lists(st.binary(min_size=12, max_size=12), max_size=40))
def test_what_is_called_sound_is_sound(slots: list[bytes]) -> None:
    """Red without any one of the size, offset, zero and count checks of `take_packet`."""
    consume, left = taker(slots)
    try:
        packet = take_packet(consume)
    except BrokenByPeer:
        return
    if packet is None:
        assert not slots
        return
    taken = len(slots) - len(left)
    assert len(packet.ids) == taken <= FATAL_SLOTS + 2 * MAX_EXTRAS  # each is answered once
    if packet.refused is None:
        assert 1 <= len(packet.slots) <= MAX_SLOTS
        assert sum(slot.size for slot in packet.slots) == packet.size >= ETH_HLEN
        for slot in packet.slots:
            assert slot.size > 0
            assert slot.offset + slot.size <= PAGE_SIZE


@given(
    st.lists(st.integers(1, PAGE_SIZE), min_size=1, max_size=MAX_SLOTS).filter(
        lambda parts: ETH_HLEN <= sum(parts) <= 0xFFFF
    ),
    st.none() | st.integers(1, 0xFFFF),
)
def test_what_an_honest_frontend_sends_is_taken(parts: list[int], segment: int | None) -> None:
    last = len(parts) - 1
    slots = [
        pack_tx_request(
            100 + number,
            PAGE_SIZE - part,
            (NETTXF_more_data if number < last else 0)
            | (NETTXF_extra_info if segment is not None and not number else 0),
            number,
            sum(parts) if not number else part,
        )
        for number, part in enumerate(parts)
    ]
    if segment is not None:
        slots.insert(1, EXTRA_GSO.pack(1, 0, segment, XEN_NETIF_GSO_TYPE_TCPV4, 0, 0) + bytes(4))
    consume, left = taker([*slots, b"next" * 3])
    packet = take_packet(consume)
    assert packet is not None
    assert packet.refused is None
    assert [(s.gref, s.offset, s.id, s.size) for s in packet.slots] == [
        (100 + n, PAGE_SIZE - part, n, part) for n, part in enumerate(parts)
    ]
    assert packet.gso == (None if segment is None else (XEN_NETIF_GSO_TYPE_TCPV4, segment))
    assert left == [b"next" * 3]


@pytest.mark.parametrize("kinds", [[1] * (MAX_EXTRAS + 1), [*range(1, MAX_EXTRAS + 1), 1]])
def test_a_packet_has_no_more_extra_infos_than_there_are_types(kinds: list[int]) -> None:
    """As many as there are types are taken, whatever their types, one more is abuse.

    Seen red with a limit that is one higher.
    """

    def packet(kinds: list[int]) -> list[bytes]:
        extras = [
            EXTRA_GSO.pack(kind, number < len(kinds) - 1, 1448, XEN_NETIF_GSO_TYPE_TCPV4, 0, 0)
            for number, kind in enumerate(kinds)
        ]
        request = pack_tx_request(100, 0, NETTXF_extra_info, 7, 60)
        return [request, *(extra + bytes(4) for extra in extras)]

    taken = take_packet(taker(packet(kinds[:MAX_EXTRAS]))[0])
    assert taken is not None
    assert taken.ids == [7] + [None] * MAX_EXTRAS
    with pytest.raises(BrokenByPeer, match="more extra info"):
        take_packet(taker(packet(kinds))[0])


@pytest.mark.parametrize(
    ("flags", "text"),
    [(NETTXF_extra_info, "missing extra info"), (NETTXF_more_data, "more than 1 slots ends")],
)
def test_what_a_slot_promises_is_in_the_ring(flags: int, text: str) -> None:
    with pytest.raises(BrokenByPeer, match=text):
        take_packet(taker([pack_tx_request(100, 0, flags, 7, 60)])[0])


@given(
    st.binary(max_size=HEADERS),
    st.booleans(),
    st.booleans(),
    st.none() | st.tuples(st.integers(0, 4), sizes),
)
def test_a_port_is_told_of_no_place_outside_of_the_headers(
    head: bytes, blank: bool, validated: bool, gso: tuple[int, int] | None
) -> None:
    try:
        vnet = vnet_header(head, blank=blank, validated=validated, gso=gso)
    except Unfit:
        return
    _, _, _, size, start, offset = VNET.unpack(vnet)
    assert start + offset + (2 if start else 0) <= len(head)
    assert gso is None or size == gso[1] > 0
    assert flow(head) == flow(bytes(head))


def _tcp(ethertype: bytes, vlan: bool) -> bytes:
    tag = b"\x81\x00\x00\x07" if vlan else b""
    if ethertype == b"\x08\x00":
        network = b"\x45" + bytes(8) + b"\x06" + bytes(10)
    else:
        network = b"\x60" + bytes(5) + b"\x06" + bytes(33)
    return bytes(12) + tag + ethertype + network + bytes(12) + b"\x50" + bytes(7)


@pytest.mark.parametrize("vlan", [False, True])
@pytest.mark.parametrize(
    ("ethertype", "kind", "other"),
    [
        (b"\x08\x00", XEN_NETIF_GSO_TYPE_TCPV4, XEN_NETIF_GSO_TYPE_TCPV6),
        (b"\x86\xdd", XEN_NETIF_GSO_TYPE_TCPV6, XEN_NETIF_GSO_TYPE_TCPV4),
    ],
)
def test_segments_are_of_the_kind_that_the_frame_is(
    ethertype: bytes, kind: int, other: int, vlan: bool
) -> None:
    """Red when the type is held against the outer ethertype: a tagged frame then passes as
    either."""
    head = _tcp(ethertype, vlan)
    vnet = vnet_header(head, blank=True, validated=True, gso=(kind, 1448))
    blank, validated, extra = ring_terms(vnet)
    assert (blank, validated) == (True, True)
    assert extra == EXTRA_GSO.pack(XEN_NETIF_EXTRA_TYPE_GSO, 0, 1448, kind, 0, 0)
    with pytest.raises(Unfit, match="gso_type"):
        vnet_header(head, blank=True, validated=True, gso=(other, 1448))


def test_only_tcp_is_cut() -> None:
    """UDP has a checksum that may be left out, but no segments.  Red without the look at the
    protocol."""
    head = bytearray(_tcp(b"\x08\x00", False))
    head[23] = 17
    assert vnet_header(bytes(head), blank=True, validated=True, gso=None) != PLAIN
    with pytest.raises(Unfit, match="gso_type"):
        vnet_header(bytes(head), blank=True, validated=True, gso=(XEN_NETIF_GSO_TYPE_TCPV4, 1448))


def test_nothing_left_to_do_is_said_with_zeros() -> None:
    assert vnet_header(b"", blank=False, validated=False, gso=None) == PLAIN


@pytest.mark.parametrize("vlan", [False, True])
@pytest.mark.parametrize("ethertype", [b"\x08\x00", b"\x86\xdd"])
def test_a_sum_lies_within_what_was_copied(ethertype: bytes, vlan: bool) -> None:
    """However short the first bytes are cut.  Red without any of the looks at their length."""
    head = _tcp(ethertype, vlan)
    start = 14 + 4 * vlan + (20 if ethertype == b"\x08\x00" else 40)
    for length in range(start + 18):
        with pytest.raises(Unfit, match=r"short_header|not_ip"):
            vnet_header(head[:length], blank=True, validated=True, gso=None)
    told = vnet_header(head[: start + 18], blank=True, validated=True, gso=None)
    assert VNET.unpack(told) == (F_NEEDS_CSUM, 0, 0, 0, start, 16)
