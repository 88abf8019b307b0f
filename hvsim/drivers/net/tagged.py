"""Frames of a VLAN on a packet socket: the kernel takes a frame's tag out of its bytes on the way
in and tells it beside them (packet(7), PACKET_AUXDATA), which a plain read leaves behind.

So a link of that kind has two sockets.  The one that everything is read from takes frames without a
tag only, at no cost to them; this is the other.  A TAP needs none: it puts the tag back itself.

Sources: linux/if_packet.h (struct tpacket_auxdata), linux/filter.h, linux/virtio_net.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
from typing import Final

from hvsim.drivers.net.offload import F_NEEDS_CSUM, VNET

_SOL_PACKET: Final = 263
_PACKET_AUXDATA: Final = 8
_SO_ATTACH_FILTER: Final = 26
_AUXDATA: Final = struct.Struct("=IIIHHHH")
"""status, len, snaplen, mac, net, vlan_tci, vlan_tpid"""
_TP_STATUS_VLAN_VALID: Final = 1 << 4
_TP_STATUS_VLAN_TPID_VALID: Final = 1 << 6
_ETH_P_8021Q: Final = 0x8100
_ADDRESSES: Final = 12
"""Bytes before the place of the tag."""
TAG: Final = 4
_LARGEST: Final = VNET.size + (1 << 16)

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_IF: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_VLAN_TAG_PRESENT: Final = 0xFFFF_F000 + 48  # SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT
_INSTRUCTION: Final = struct.Struct("=HBBI")


def only(sock: socket.socket, *, tagged: bool) -> None:
    """Let *sock* hear of frames with a tag only, or of those without.  Raises OSError."""
    program = ctypes.create_string_buffer(
        b"".join(
            _INSTRUCTION.pack(*line)
            for line in (
                (_LOAD, 0, 0, _VLAN_TAG_PRESENT),
                (_JUMP_IF, int(tagged), int(not tagged), 0),
                (_RETURN, 0, 0, 0xFFFF_FFFF),
                (_RETURN, 0, 0, 0),
            )
        )
    )
    # struct sock_fprog: how many instructions, and where.
    where = struct.pack("@HP", 4, ctypes.addressof(program))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, where)


class TaggedFrames:
    """Reads them.  *sock* is owned from here on.

    Attributes:
        fd: readable when there is one.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        self._socket = sock
        self.fd = sock.fileno()

    def close(self) -> None:
        """Close it.  Idempotent."""
        self._socket.close()
        self.fd = -1

    def settle(self) -> None:
        """Take what the kernel reports once when the link goes down."""
        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def read(self) -> tuple[bytes, bytes] | None:
        """(virtio_net_hdr, frame) with the tag where it belongs; None when there is none."""
        with contextlib.suppress(OSError):  # none, or the link is down: there will be more
            data, ancillary, _, _ = self._socket.recvmsg(_LARGEST, socket.CMSG_SPACE(_AUXDATA.size))
            vnet, frame = data[: VNET.size], data[VNET.size :]
            for level, kind, raw in ancillary:
                if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA) and len(raw) >= _AUXDATA.size:
                    return put_back(vnet, frame, _AUXDATA.unpack_from(raw))
            return vnet, frame
        return None


def put_back(vnet: bytes, frame: bytes, auxdata: tuple[int, ...]) -> tuple[bytes, bytes]:
    """A frame with the tag that was told beside it; what the header says moves with its bytes."""
    status, _, _, _, _, tci, tpid = auxdata
    if not status & _TP_STATUS_VLAN_VALID:
        return vnet, frame
    if not status & _TP_STATUS_VLAN_TPID_VALID:
        tpid = _ETH_P_8021Q
    flags, gso, headers, size, start, offset = VNET.unpack(vnet)
    if flags & F_NEEDS_CSUM:
        start += TAG
    if headers:
        headers += TAG
    tag = struct.pack("!HH", tpid, tci)
    whole = b"".join((frame[:_ADDRESSES], tag, frame[_ADDRESSES:]))
    return VNET.pack(flags, gso, headers, size, start, offset), whole
