"""Ethernet frames as a guest's stack would send them, for tests."""

import struct

from hvsim.drivers.net.offload import ones_sum
from hvsim.observe.offload import NEEDS_CSUM

ONE, TWO = bytes.fromhex("00163e000001"), bytes.fromhex("00163e000002")
IP_ONE, IP_TWO = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
TCP_START = 34
TCP_CHECKSUM = 16
SYN, ACK, PSH, FIN = 2, 16, 8, 1


def tcp(
    flags: int, seq: int, ack: int, payload: bytes = b"", *, back: bool = False, whole: bool = True
) -> bytes:
    """A TCP segment over IPv4 in Ethernet; not `whole` leaves its checksum at the pseudo sum."""
    source, target = (IP_TWO, IP_ONE) if back else (IP_ONE, IP_TWO)
    ports = (80, 40000) if back else (40000, 80)
    length = 20 + len(payload)
    pseudo = ones_sum(source + target + struct.pack(">BBH", 0, 6, length))
    head = struct.pack(">HHIIBBHHH", *ports, seq, ack, 5 << 4, flags, 65535, pseudo, 0)
    if whole:
        checksum = 0xFFFF ^ ones_sum(head + payload)
        head = head[:16] + struct.pack(">H", checksum) + head[18:]
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, 1, 0x4000, 64, 6, 0) + source + target
    ip = ip[:10] + struct.pack(">H", 0xFFFF ^ ones_sum(ip)) + ip[12:]
    macs = ONE + TWO if back else TWO + ONE
    return macs + b"\x08\x00" + ip + head + payload


def partial(gso: int = 0, size: int = 0) -> bytes:
    """The virtio_net_hdr of a segment whose checksum is open."""
    header = TCP_START + 20 if gso else 0
    return struct.pack("<BBHHHH", NEEDS_CSUM, gso, header, size, TCP_START, TCP_CHECKSUM)
