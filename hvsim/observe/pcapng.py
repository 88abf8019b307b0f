"""pcapng: the blocks of a capture file, as bytes. Pure: no file, no clock.

A file is a section header, one interface description for each place where frames were seen, a
packet block for each frame, and statistics for each interface. Byte order is the writer's own
(little-endian here); readers find out by the magic in the section header.

Source: IETF draft-ietf-opsawg-pcapng, sections 3.5 (options), 4.1 (section header), 4.2 (interface
description), 4.3 (enhanced packet) and 4.6 (interface statistics).
"""

import struct
from collections.abc import Iterable
from typing import Final

LINKTYPE_ETHERNET: Final = 1
UNKNOWN_SECTION_LENGTH: Final = -1

SHB: Final = 0x0A0D0D0A
IDB: Final = 1
ISB: Final = 5
EPB: Final = 6
BYTE_ORDER_MAGIC: Final = 0x1A2B3C4D
MAJOR, MINOR = 1, 0

OPT_END: Final = 0
OPT_COMMENT: Final = 1
SHB_OS: Final = 3
SHB_USERAPPL: Final = 4
IF_NAME: Final = 2
IF_DESCRIPTION: Final = 3
IF_MACADDR: Final = 6
IF_TSRESOL: Final = 9
EPB_FLAGS: Final = 2
EPB_DROPCOUNT: Final = 4
EPB_QUEUE: Final = 6
ISB_STARTTIME: Final = 2
ISB_ENDTIME: Final = 3
ISB_IFRECV: Final = 4
ISB_IFDROP: Final = 5

FLAG_INBOUND: Final = 1
"""The interface received the frame (bits 0 and 1 of epb_flags)."""
FLAG_OUTBOUND: Final = 2
"""The interface sent it."""
FLAG_CHECKSUM_NOT_READY: Final = 1 << 9
"""The sender left the checksum to the hardware, or here: to the other half of the ring."""
FLAG_CHECKSUM_VALID: Final = 1 << 10
"""The other half vouches for the checksum: whoever reads need not look."""
FLAG_SEGMENTATION_OFFLOADED: Final = 1 << 11
"""One frame here stands for several on a wire."""

NANOSECONDS: Final = bytes([9])
"""if_tsresol: timestamps count 10^-9 s."""

Option = tuple[int, bytes]


def block(kind: int, body: bytes, options: Iterable[Option] = ()) -> bytes:
    """A block: type, length, body (a multiple of 4 bytes), options, length again."""
    text = b"".join(option(code, value) for code, value in options)
    if text:
        text += struct.pack("<HH", OPT_END, 0)
    length = 12 + len(body) + len(text)
    return struct.pack("<II", kind, length) + body + text + struct.pack("<I", length)


def option(code: int, value: bytes) -> bytes:
    """One option, padded to 32 bits. Raises ValueError for a value above 65535 bytes."""
    if len(value) > 0xFFFF:
        raise ValueError(f"an option of pcapng holds 65535 bytes, not {len(value)}")
    return struct.pack("<HH", code, len(value)) + padded(value)


def padded(data: bytes) -> bytes:
    """`data` up to the next multiple of 4 bytes."""
    return data + bytes(-len(data) % 4)


def section(application: str, system: str) -> bytes:
    """The first block of a file: who wrote it, on what."""
    body = struct.pack("<IHHq", BYTE_ORDER_MAGIC, MAJOR, MINOR, UNKNOWN_SECTION_LENGTH)
    options = ((SHB_OS, system.encode()), (SHB_USERAPPL, application.encode()))
    return block(SHB, body, options)


def interface(name: str, description: str, *, snaplen: int, mac: bytes | None = None) -> bytes:
    """A place where frames are seen: the first is interface 0 of the packets, the next 1.

    `snaplen` is how many bytes of a frame are kept at most; 0 means all.
    """
    options = [(IF_NAME, name.encode()), (IF_DESCRIPTION, description.encode())]
    if mac is not None:
        options.append((IF_MACADDR, mac))
    options.append((IF_TSRESOL, NANOSECONDS))
    return block(IDB, struct.pack("<HHI", LINKTYPE_ETHERNET, 0, snaplen), options)


def packet(
    number: int,
    time_ns: int,
    data: bytes,
    length: int,
    *,
    flags: int,
    comment: str = "",
    dropped: int = 0,
    queue: int | None = None,
) -> bytes:
    """A frame that interface `number` saw.

    Args:
        time_ns: nanoseconds since the epoch.
        data: what was kept of the frame.
        length: how long the frame was.
        flags: FLAG_*.
        dropped: frames lost between the one before and this one.
        queue: which queue of the interface it came by.
    """
    body = struct.pack("<I", number) + _time(time_ns) + struct.pack("<II", len(data), length)
    options: list[Option] = []
    if comment:
        options.append((OPT_COMMENT, comment.encode()))
    options.append((EPB_FLAGS, struct.pack("<I", flags)))
    if dropped:
        options.append((EPB_DROPCOUNT, struct.pack("<Q", dropped)))
    if queue is not None:
        options.append((EPB_QUEUE, struct.pack("<I", queue)))
    return block(EPB, body + padded(data), options)


def statistics(number: int, *, started_ns: int, ended_ns: int, seen: int, dropped: int) -> bytes:
    """What became of the frames of interface `number`: how many passed by, how many of those the
    capture lost."""
    return block(
        ISB,
        struct.pack("<I", number) + _time(ended_ns),
        (
            (ISB_STARTTIME, _time(started_ns)),
            (ISB_ENDTIME, _time(ended_ns)),
            (ISB_IFRECV, struct.pack("<Q", seen)),
            (ISB_IFDROP, struct.pack("<Q", dropped)),
        ),
    )


def _time(nanoseconds: int) -> bytes:
    """A timestamp: upper and lower half, in that order whatever the byte order."""
    return struct.pack("<II", nanoseconds >> 32 & 0xFFFF_FFFF, nanoseconds & 0xFFFF_FFFF)
