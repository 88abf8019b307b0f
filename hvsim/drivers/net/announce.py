"""Frames by which a stack tells its neighbours where it is now: gratuitous ARP, unsolicited NA.

Pure.  Sources: RFC 826, RFC 5227 section 3 (ARP announcement), RFC 4861 sections 4.4 and 7.2.6.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Final

BROADCAST: Final = b"\xff" * 6
ALL_NODES: Final = ipaddress.IPv6Address("ff02::1")
_ETH_P_ARP: Final = 0x0806
_ETH_P_IPV6: Final = 0x86DD
_ICMPV6: Final = 58
_NEIGHBOUR_ADVERTISEMENT: Final = 136
_OVERRIDE: Final = 0x2000_0000
_TARGET_LINK_LAYER_ADDRESS: Final = 2

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


def announcement(mac: bytes, address: Ip) -> bytes:
    """The Ethernet frame that announces *address* at *mac* to everybody on the link."""
    if isinstance(address, ipaddress.IPv4Address):
        return gratuitous_arp(mac, address)
    return unsolicited_advertisement(mac, address)


def gratuitous_arp(mac: bytes, address: ipaddress.IPv4Address) -> bytes:
    """An ARP request for the own address, as Linux sends for a link that has moved."""
    # htype Ethernet, ptype IPv4, sizes, operation request
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    body += mac + address.packed + bytes(6) + address.packed
    return _frame(BROADCAST, mac, _ETH_P_ARP, body)


def unsolicited_advertisement(mac: bytes, address: ipaddress.IPv6Address) -> bytes:
    """A neighbour advertisement that nobody asked for, to override what is known."""
    message = struct.pack("!BBHI", _NEIGHBOUR_ADVERTISEMENT, 0, 0, _OVERRIDE)
    message += address.packed + bytes([_TARGET_LINK_LAYER_ADDRESS, 1]) + mac
    pseudo = address.packed + ALL_NODES.packed + struct.pack("!IxxxB", len(message), _ICMPV6)
    message = message[:2] + struct.pack("!H", _checksum(pseudo + message)) + message[4:]
    header = struct.pack("!IHBB", 6 << 28, len(message), _ICMPV6, 255)
    to = b"\x33\x33" + ALL_NODES.packed[-4:]
    return _frame(to, mac, _ETH_P_IPV6, header + address.packed + ALL_NODES.packed + message)


def _frame(to: bytes, mac: bytes, kind: int, body: bytes) -> bytes:
    return (to + mac + struct.pack("!H", kind) + body).ljust(60, b"\0")


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
