"""One bit of a frame's payload turned over, in such a way that who reads it may find out.

A frame whose checksum is left to somebody later (``virtio_net_hdr``) gets it first, as a card would
before the wire: the reader's stack finds that it is wrong.  A packet that is yet to be cut into
segments has no checksum that could be wrong: whoever cuts it sums up what is there by then, and the
other bit reaches the program.  Pure.

Sources: linux/virtio_net.h; the sum is that of RFC 1071.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from hvsim.drivers.net.offload import (
    F_NEEDS_CSUM,
    GSO_NONE,
    HEADERS,
    PLAIN,
    VNET,
    Unfit,
    checksum_place,
    ones_sum,
)
from hvsim.drivers.net.protocol import ETH_HLEN

if TYPE_CHECKING:
    from hvsim.domain.dice import Dice

_UDP: Final = 6
"""Where in its header the checksum of UDP is; and its header's length, 8, is 2 more."""


def twisted(frame: bytes, dice: Dice) -> tuple[bytes, str]:
    """*frame*, which stands behind its virtio_net_hdr, with one other bit; and which, in words."""
    vnet, data = frame[: VNET.size], bytearray(frame[VNET.size :])
    flags, kind, _, _, start, offset = VNET.unpack(vnet)
    if kind == GSO_NONE:
        if flags & F_NEEDS_CSUM:
            _sum_up(data, start, offset)
        vnet = PLAIN  # nobody has looked whether the sum is right
    first = payload(bytes(data[:HEADERS]), len(data))
    if first >= len(data):
        return frame, "nothing of it to turn over"
    at, bit = dice.randrange(first, len(data)), dice.randrange(8)
    data[at] ^= 1 << bit
    return vnet + bytes(data), f"bit {bit} of byte {at} turned over"


def payload(head: bytes, length: int) -> int:
    """Where the payload of a frame begins: behind the headers of TCP or UDP, if it has any that
    something comes after; behind that of Ethernet otherwise."""
    try:
        start, offset = checksum_place(head)
    except Unfit:
        return ETH_HLEN
    behind = start + 8
    if offset != _UDP:
        behind = start + (head[start + 12] >> 4) * 4
    return behind if behind < length else ETH_HLEN


def _sum_up(data: bytearray, start: int, offset: int) -> None:
    """The checksum that was left open, where there is a place for it."""
    at = start + offset
    if at + 2 > len(data):
        return
    checksum = 0xFFFF ^ ones_sum(bytes(data[start:]))
    if checksum == 0 and offset == _UDP:
        checksum = 0xFFFF  # 0 means "no checksum" in UDP
    struct.pack_into(">H", data, at, checksum)
