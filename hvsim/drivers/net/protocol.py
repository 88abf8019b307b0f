"""What both halves of a vif know: how a packet lies in slots, and what must hold of one.

Pure: bytes in, values out.  A slot was copied out of the ring once before it comes here.

The checks of a packet on the TX ring are those of Linux' netback (``xenvif_get_extras``,
``xenvif_count_requests``, ``xenvif_tx_build_gops``), which the public advisories drew: a packet
that is only too long or does not add up is answered with an error (`Packet.refused`, XSA-432,
XSA-448); slots that no honest frontend can write cost it its device (`BrokenByPeer`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from hvsim.abi.memory import PAGE_SIZE
from hvsim.abi.netif import (
    EXTRA,
    EXTRA_GSO,
    RX_REQUEST,
    RX_RESPONSE,
    TX_REQUEST,
    TX_RESPONSE,
    XEN_NETIF_EXTRA_FLAG_MORE,
    XEN_NETIF_EXTRA_TYPE_GSO,
    XEN_NETIF_EXTRA_TYPE_MAX,
    XEN_NETIF_EXTRA_TYPE_NONE,
    XEN_NETIF_NR_SLOTS_MIN,
    NETTXF_extra_info,
    NETTXF_more_data,
)
from hvsim.errors import BrokenByPeer

ETH_HLEN: Final = 14
"""Bytes of the shortest frame that says where it goes."""
MAX_SLOTS: Final = XEN_NETIF_NR_SLOTS_MIN
FATAL_SLOTS: Final = 20
"""More in one packet can only be malice (netback's fatal_skb_slots)."""
MAX_EXTRAS: Final = XEN_NETIF_EXTRA_TYPE_MAX - 1
"""One of each type."""
TX_REQUEST_BYTES: Final = TX_REQUEST.size
TX_RESPONSE_BYTES: Final = TX_RESPONSE.size
RX_REQUEST_BYTES: Final = RX_REQUEST.size
RX_RESPONSE_BYTES: Final = RX_RESPONSE.size

unpack_tx_request = TX_REQUEST.struct.unpack
pack_tx_request = TX_REQUEST.struct.pack
unpack_tx_response = TX_RESPONSE.struct.unpack
pack_tx_response = TX_RESPONSE.struct.pack
unpack_rx_request = RX_REQUEST.struct.unpack
pack_rx_request = RX_REQUEST.struct.pack
unpack_rx_response = RX_RESPONSE.struct.unpack
pack_rx_response = RX_RESPONSE.struct.pack


@dataclass(frozen=True, slots=True)
class VifInfo:
    """What a link is made for.

    Attributes:
        domid: the guest.
        index: the number of its interface.
        name: of the link: "vif3.0" on the backend's side.
        wanted_name: what the config calls it there; "" when it does not.
        mtu: 0 on the backend's side when it is that of the bridge.
        rate: (bytes in an interval, microseconds), None without a limit.
    """

    domid: int
    index: int
    name: str
    mac: str
    mtu: int = 1500
    bridge: str = ""
    script: str = ""
    rate: tuple[int, int] | None = None
    wanted_name: str = ""


@dataclass(slots=True)
class Slot:
    """One data slot of a packet: `size` bytes at `offset` of the page behind `gref`."""

    gref: int
    offset: int
    id: int
    size: int


@dataclass(slots=True)
class Packet:
    """A packet, as its slots describe it.

    Attributes:
        flags: NETTXF_* of its first slot.
        size: bytes of the whole.
        slots: its data, in order.
        extras: type -> the slot of that extra info.
        ids: of all its requests, in the order of the ring; None for an extra info slot.
        refused: why it is to be answered with an error, None when it is sound.
    """

    flags: int
    size: int
    slots: list[Slot] = field(default_factory=list)
    extras: dict[int, bytes] = field(default_factory=dict)
    ids: list[int | None] = field(default_factory=list)
    refused: str | None = None

    @property
    def gso(self) -> tuple[int, int] | None:
        """(XEN_NETIF_GSO_TYPE_*, bytes of a segment) of a packet that is to be cut."""
        extra = self.extras.get(XEN_NETIF_EXTRA_TYPE_GSO)
        if extra is None:
            return None
        _, _, size, kind, _, _ = EXTRA_GSO.struct.unpack(extra)
        return kind, size


def take_packet(consume: Callable[[], bytes | None]) -> Packet | None:
    """The next packet of a TX ring, all of its slots; None when there is none.

    Raises: BrokenByPeer.
    """
    raw = consume()
    if raw is None:
        return None
    gref, offset, flags, ident, size = unpack_tx_request(raw)
    packet = Packet(flags, size, ids=[ident])
    if flags & NETTXF_extra_info:
        _take_extras(packet, consume)
    rest = size
    parts: list[Slot] = []
    more = flags
    while more & NETTXF_more_data:
        raw = consume()
        if raw is None:
            raise BrokenByPeer(f"a packet of more than {len(parts) + 1} slots ends after those")
        part_ref, part_offset, more, part_id, part_size = unpack_tx_request(raw)
        packet.ids.append(part_id)
        if len(parts) + 2 > FATAL_SLOTS:
            raise BrokenByPeer(f"a packet of more than {FATAL_SLOTS} slots")
        if part_offset + part_size > PAGE_SIZE:
            raise BrokenByPeer(f"a slot of {part_size} bytes at {part_offset} leaves its page")
        if not part_size:
            packet.refused = packet.refused or "empty_slot"
        if part_size > rest:
            packet.refused = packet.refused or "slots_too_long"
        else:
            rest -= part_size
        parts.append(Slot(part_ref, part_offset, part_id, part_size))
    if packet.refused is None and len(parts) + 1 > MAX_SLOTS:
        packet.refused = "too_many_slots"
    if size < ETH_HLEN:
        packet.refused = packet.refused or "too_short"
    if packet.refused is None:
        if not rest:
            packet.refused = "empty_slot"
        elif offset + rest > PAGE_SIZE:
            raise BrokenByPeer(f"a slot of {rest} bytes at {offset} leaves its page")
    packet.slots = [Slot(gref, offset, ident, rest), *parts]
    return packet


def _take_extras(packet: Packet, consume: Callable[[], bytes | None]) -> None:
    more = XEN_NETIF_EXTRA_FLAG_MORE
    while more & XEN_NETIF_EXTRA_FLAG_MORE:
        raw = consume()
        if raw is None:
            raise BrokenByPeer("missing extra info")
        extra = raw[: EXTRA.size]
        kind, more, _ = EXTRA.struct.unpack(extra)
        if kind == XEN_NETIF_EXTRA_TYPE_NONE or kind >= XEN_NETIF_EXTRA_TYPE_MAX:
            raise BrokenByPeer(f"invalid extra type: {kind}")
        if kind in packet.extras and len(packet.ids) > MAX_EXTRAS:
            raise BrokenByPeer("more extra info than there are types")
        packet.extras[kind] = extra
        packet.ids.append(None)
