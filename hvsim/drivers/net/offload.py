"""Checksums and segmentation that are left to somebody later: from and to ``virtio_net_hdr``.

A link says it in 10 bytes before each frame (linux/virtio_net.h), a ring in flags and in a GSO
extra slot (xen/io/netif.h).  A blank checksum has its place by the headers of the frame, which a
ring does not say: the reader finds it, in a private copy of the first bytes.
"""

from __future__ import annotations

import struct
from typing import Final

from hvsim.abi.netif import (
    EXTRA_GSO,
    XEN_NETIF_EXTRA_TYPE_GSO,
    XEN_NETIF_GSO_TYPE_TCPV4,
    XEN_NETIF_GSO_TYPE_TCPV6,
)

VNET: Final = struct.Struct("<BBHHHH")
"""struct virtio_net_hdr without num_buffers: flags, gso_type, hdr_len, gso_size, csum_start,
csum_offset."""
PLAIN: Final = bytes(VNET.size)
"""Of a frame with nothing left to do."""
HEADERS: Final = 192
"""Bytes of a frame in which all its headers lie, as far as they are looked for."""

F_NEEDS_CSUM: Final = 1
F_DATA_VALID: Final = 2
GSO_NONE: Final = 0
GSO_TCPV4: Final = 1
GSO_TCPV6: Final = 4
GSO_ECN: Final = 0x80
_VALIDATED: Final = VNET.pack(F_DATA_VALID, 0, 0, 0, 0, 0)

_ETH_IP: Final = b"\x08\x00"
_ETH_IPV6: Final = b"\x86\xdd"
_VLANS: Final = (b"\x81\x00", b"\x88\xa8")
_CSUM_AT: Final = {6: 16, 17: 6}
"""Protocol -> where its checksum is: TCP, UDP."""
_EXTENSIONS: Final = (0, 43, 60)
"""IPv6 headers that another follows: hop-by-hop, routing, destination options."""
MIN_SEGMENT: Final = 1


class Unfit(Exception):
    """Headers that the flags do not fit: nothing can be left to others; the text is a word."""


def checksum_place(head: bytes) -> tuple[int, int]:
    """(where the sum begins, where in it the checksum lies) of a TCP or UDP packet.

    Raises: Unfit.
    """
    kind, at = head[12:14], 14
    if kind in _VLANS:
        kind, at = head[16:18], 18
    if kind == _ETH_IP:
        if len(head) < at + 20:
            raise Unfit("short_header")
        length = (head[at] & 0xF) * 4
        if length < 20 or head[at] >> 4 != 4:
            raise Unfit("bad_header")
        protocol, start = head[at + 9], at + length
    elif kind == _ETH_IPV6:
        if len(head) < at + 40:
            raise Unfit("short_header")
        protocol, start = head[at + 6], at + 40
        for _ in range(4):
            if protocol not in _EXTENSIONS:
                break
            if len(head) < start + 8:
                raise Unfit("short_header")
            protocol, start = head[start], start + 8 + head[start + 1] * 8
    else:
        raise Unfit("not_ip")
    offset = _CSUM_AT.get(protocol)
    if offset is None:
        raise Unfit("no_checksum")
    if start + offset + 2 > len(head):
        raise Unfit("short_header")
    return start, offset


def vnet_header(head: bytes, *, blank: bool, validated: bool, gso: tuple[int, int] | None) -> bytes:
    """The header of a frame that came out of a ring; `head` is a copy of its first bytes.

    Raises: Unfit.
    """
    if not blank and gso is None:
        return _VALIDATED if validated else PLAIN
    start, offset = checksum_place(head)
    if gso is None:
        return VNET.pack(F_NEEDS_CSUM, GSO_NONE, 0, 0, start, offset)
    kind, size = gso
    inner = head[16:18] if head[12:14] in _VLANS else head[12:14]
    if size < MIN_SEGMENT:
        raise Unfit("gso_size")
    if kind == XEN_NETIF_GSO_TYPE_TCPV4:
        if inner == _ETH_IPV6:
            raise Unfit("gso_type")
        vnet = GSO_TCPV4
    elif kind == XEN_NETIF_GSO_TYPE_TCPV6:
        if inner == _ETH_IP:
            raise Unfit("gso_type")
        vnet = GSO_TCPV6
    else:
        raise Unfit("gso_type")
    if offset != _CSUM_AT[6] or start + 13 > len(head):
        raise Unfit("gso_type")
    length = start + (head[start + 12] >> 4) * 4
    return VNET.pack(F_NEEDS_CSUM, vnet, length, size, start, offset)


def ring_terms(vnet: bytes | bytearray | memoryview) -> tuple[bool, bool, bytes | None]:
    """(checksum is blank, data is validated, GSO extra slot or None) for a frame of a link.

    Raises: Unfit for a kind of segmentation that the ring has no words for.
    """
    flags, kind, _, size, _, _ = VNET.unpack_from(vnet)
    blank = bool(flags & F_NEEDS_CSUM)
    validated = blank or bool(flags & F_DATA_VALID)
    kind &= ~GSO_ECN
    if kind == GSO_NONE:
        return blank, validated, None
    if kind == GSO_TCPV4:
        ours = XEN_NETIF_GSO_TYPE_TCPV4
    elif kind == GSO_TCPV6:
        ours = XEN_NETIF_GSO_TYPE_TCPV6
    else:
        raise Unfit("gso_type")
    return True, True, EXTRA_GSO.pack(XEN_NETIF_EXTRA_TYPE_GSO, 0, size, ours, 0, 0)


def flow(head: bytes) -> int:
    """A number that is the same for all frames of one connection (addresses and ports)."""
    kind, at = head[12:14], 14
    if kind in _VLANS:
        kind, at = head[16:18], 18
    if kind == _ETH_IP and len(head) >= at + 24:
        key = head[at + 12 : at + 20]
        if not (head[at + 6] & 0x3F or head[at + 7]):  # no fragment: ports follow
            start = at + (head[at] & 0xF) * 4
            key += head[start : start + 4] if head[at + 9] in _CSUM_AT else b""
    elif kind == _ETH_IPV6 and len(head) >= at + 44:
        key = head[at + 8 : at + 40] + (
            head[at + 40 : at + 44] if head[at + 6] in _CSUM_AT else b""
        )
    else:
        key = head[:12]
    return hash_bytes(key)


def hash_bytes(key: bytes) -> int:
    """FNV-1a of 32 bits."""
    value = 0x811C9DC5
    for byte in key:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def ones_sum(data: bytes) -> int:
    """The 16-bit one's complement sum of `data` (RFC 1071), padded to whole words."""
    if len(data) % 2:
        data += b"\0"
    number = int.from_bytes(data, "big")
    # 2^16 is 1 modulo 2^16 - 1: the remainder is the sum with its carries wrapped around.
    rest = number % 0xFFFF
    return 0xFFFF if rest == 0 and number else rest
