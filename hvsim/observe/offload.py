"""What a virtio_net_hdr says of a frame, and the checksum that it leaves open. Pure.

Frames cross a vif whole: a TCP segment may be far larger than the MTU (the receiver, or whoever
puts it on a wire, cuts it), and its checksum may stand at the sum of the pseudo header only.
A reader of a capture takes that for an error, so the file gets the checksum that a wire would have
got; the packet's flags still say that it was open.

Source: linux/virtio_net.h; the sum is that of RFC 1071.
"""

import struct
from dataclasses import dataclass
from typing import Final

from hvsim.drivers.net.offload import ones_sum
from hvsim.observe.pcapng import (
    FLAG_CHECKSUM_NOT_READY,
    FLAG_CHECKSUM_VALID,
    FLAG_SEGMENTATION_OFFLOADED,
)

_HEADER: Final = struct.Struct("<BBHHHH")
NEEDS_CSUM: Final = 1
DATA_VALID: Final = 2
GSO_NONE: Final = 0
GSO_NAMES: Final = {1: "TCPv4", 3: "UDP fragments", 4: "TCPv6", 5: "UDP"}
GSO_ECN: Final = 0x80
_UDP_CHECKSUM: Final = 6
_TCP_OFFSET: Final = 12
_TCP_MIN: Final = 20


@dataclass(frozen=True, slots=True)
class Offload:
    """A virtio_net_hdr.

    Attributes:
        flags: NEEDS_CSUM, DATA_VALID.
        gso: GSO type without the ECN bit; 0 is none.
        gso_size: bytes of payload of each segment.
        start, offset: where the checksum begins, and where from there it is stored.
    """

    flags: int
    gso: int
    header_length: int
    gso_size: int
    start: int
    offset: int

    @classmethod
    def of(cls, vnet: bytes) -> "Offload":
        """From the 10 bytes."""
        flags, gso, header_length, size, start, offset = _HEADER.unpack(vnet)
        return cls(flags, gso & ~GSO_ECN, header_length, size, start, offset)

    @property
    def packet_flags(self) -> int:
        """What it means for a packet block (FLAG_* of pcapng)."""
        flags = 0
        if self.flags & NEEDS_CSUM:
            flags |= FLAG_CHECKSUM_NOT_READY
        elif self.flags & DATA_VALID:
            flags |= FLAG_CHECKSUM_VALID
        if self.gso != GSO_NONE:
            flags |= FLAG_SEGMENTATION_OFFLOADED
        return flags

    def comment(self, data: bytes, length: int) -> str:
        """For a reader: what a wire would have made of a frame of `length` bytes; "" if itself."""
        if self.gso == GSO_NONE:
            return ""
        kind = GSO_NAMES.get(self.gso, f"type {self.gso}")
        if not self.gso_size:
            return f"GSO {kind}, of segments without a size"
        payload = length - self._header_end(data)
        count = max(1, -(-payload // self.gso_size))
        return f"GSO {kind}: {count} segments of {self.gso_size} bytes"

    def _header_end(self, data: bytes) -> int:
        """Where the payload begins: the sender's hint may be absent or too small."""
        end = self.header_length
        if self.flags & NEEDS_CSUM and self.start + _TCP_OFFSET < len(data):
            if self.offset == _UDP_CHECKSUM:
                return self.start + 8
            words = data[self.start + _TCP_OFFSET] >> 4
            end = self.start + max(_TCP_MIN, words * 4)
        return end

    def filled(self, data: bytes, length: int) -> bytes:
        """`data` with its checksum; unchanged where none is open, or where the frame was cut."""
        at = self.start + self.offset
        if not self.flags & NEEDS_CSUM or len(data) != length or at + 2 > length:
            return data
        if self.start >= length:
            return data
        checksum = 0xFFFF ^ ones_sum(data[self.start :])
        if checksum == 0 and self.offset == _UDP_CHECKSUM:
            checksum = 0xFFFF  # 0 means "no checksum" in UDP
        return data[:at] + struct.pack(">H", checksum) + data[at + 2 :]
