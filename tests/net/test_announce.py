"""Gratuitous ARP and unsolicited neighbour advertisements, byte by byte."""

import ipaddress
import struct

from hvsim.drivers.net.announce import announcement

MAC = bytes.fromhex("00163e000001")


def test_a_gratuitous_arp_says_the_own_address_twice() -> None:
    frame = announcement(MAC, ipaddress.ip_address("10.0.0.2"))
    assert frame == (
        bytes.fromhex("ffffffffffff 00163e000001 0806")
        + bytes.fromhex("0001 0800 06 04 0001")
        + bytes.fromhex("00163e000001 0a000002 000000000000 0a000002")
        + bytes(18)
    )


def test_an_advertisement_overrides_and_its_checksum_is_right() -> None:
    own = ipaddress.ip_address("fd00::2")
    frame = announcement(MAC, own)
    assert frame[:14] == bytes.fromhex("333300000001 00163e000001 86dd")
    version, size, kind, hops = struct.unpack_from("!IHBB", frame, 14)
    assert (version >> 28, size, kind, hops) == (6, 32, 58, 255)
    source, to, message = frame[22:38], frame[38:54], frame[54:86]
    assert source == own.packed
    assert to == ipaddress.ip_address("ff02::1").packed
    assert message[:2] == bytes([136, 0])
    assert message[4:8] == bytes.fromhex("20000000")  # override, not solicited
    assert message[8:24] == own.packed
    assert message[24:] == bytes([2, 1]) + MAC
    words = source + to + struct.pack("!II", len(message), 58) + message
    total = sum(struct.unpack(f"!{len(words) // 2}H", words))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF
