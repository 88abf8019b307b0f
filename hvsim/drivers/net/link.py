"""A link: one descriptor on which whole Ethernet frames pass between us and a Linux network stack.

One ``read(2)`` is one frame behind its 10 bytes of ``struct virtio_net_hdr``, one ``write(2)`` the
same.  Frames may be as large as GSO makes them (64 KiB and headers), and their checksums partial;
the header says so.  The stack sees an ordinary link: ``eth0`` in a guest, ``vif3.0`` on a bridge.

There are two kinds, and who uses a link need not know which it has:

    tap      /dev/net/tun, where this process may open it
    packet   a pair of veth links; the stack has one, and an AF_PACKET socket with PACKET_VNET_HDR
             is bound to the other (``eth0-p``).  Needs no device node

A sender's TCP knows what of its data waits in a packet socket and holds back (TCP small queues); a
TAP takes frames off its account at once.  With less under way, more is in the processor's caches:
*measured* on 2 cores, guest to guest, twice as much gets through.  So a guest, whose stack sends,
prefers packet; a bridge, which passes frames on, prefers tap, whose queue is longer.

What to expect of the descriptor.  ``read``: EAGAIN; ENETDOWN or EIO while the link is down (go on
when it is readable again).  ``write``: EAGAIN or ENOBUFS when the queue is full; EINVAL for a
header that makes no sense; ENETDOWN or EIO while the link is down.  None of them is a reason to
give up.

Sources: linux/if_tun.h, linux/if_packet.h, linux/virtio_net.h, packet(7).
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING, Any, Final, Literal

from hvsim.domain.loading import ProgramError
from hvsim.drivers.net.links import IFNAMSIZ, Links, check_name
from hvsim.drivers.net.tagged import TaggedFrames, only

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Kind = Literal["tap", "packet"]

TUN_DEVICE: Final = "/dev/net/tun"
VNET_HEADER: Final = 10
"""Bytes of ``struct virtio_net_hdr`` without ``num_buffers``."""
QUEUE: Final = 1000
"""Frames that the stack may have waiting for us; what comes on top is dropped and counted."""
GSO_MAX: Final = 65536 - 64
"""Bytes of the largest frame that the stack may hand over, so that it fits 64 KiB with headers."""

_TUNSETIFF: Final = 0x400454CA
_TUNSETOFFLOAD: Final = 0x400454D0
_TUNSETVNETHDRSZ: Final = 0x400454D8
_TUNSETCARRIER: Final = 0x400454E2
_IFF_TAP: Final = 0x0002
_IFF_NO_PI: Final = 0x1000
_IFF_VNET_HDR: Final = 0x4000
_TUN_F_CSUM: Final = 0x01
_TUN_F_TSO4: Final = 0x02
_TUN_F_TSO6: Final = 0x04

_ETH_P_ALL: Final = 0x0003
_SOL_PACKET: Final = 263
_PACKET_ADD_MEMBERSHIP: Final = 1
_PACKET_VNET_HDR: Final = 15
_PACKET_QDISC_BYPASS: Final = 20
_PACKET_IGNORE_OUTGOING: Final = 23
_PACKET_MR_PROMISC: Final = 1
_SOCKET_BUFFER: Final = 4 << 20
"""What is asked for; the machine's limit is what is had."""


class NoLink(ProgramError, OSError):
    """This machine lets us have no link; the text says why and what to do.

    A domain that cannot do without ends with this text as its last words.
    """


class Link:
    """See the module.  Made by :func:`open_link`.

    Attributes:
        fd: the descriptor; non-blocking.
        plug: puts the link where it belongs (`bridges.py`); None where there is nothing to do.
        kind: "tap" or "packet".
        mtu: bytes of payload in a frame, as it was last set.
        tagged: what reads frames of a VLAN; None where they come with the others.
        announcements: frames, header included, by which the stack tells its neighbours where it
            is; a frontend sends them when it has connected.
    """

    def __init__(self, links: Links, name: str, kind: Kind, fd: int, far: str = "") -> None:
        self.fd = fd
        self.plug: Callable[[], None] | None = None
        self.kind: Final = kind
        self.mtu = 0
        self.tagged: TaggedFrames | None = None
        self.announcements: tuple[bytes, ...] = ()
        self._links = links
        self._index = links.get(name).index
        self._far = far  # the socket's link, for kind "packet"

    def __repr__(self) -> str:
        return f"<Link link {self._index} {self.kind} {self.fd}>"

    @property
    def name(self) -> str:
        """The link's name in the stack, which a script may have changed."""
        return self._links.name_of(self._index)

    def fileno(self) -> int:
        """The descriptor, as ``select`` and the like want it; -1 when closed."""
        return self.fd

    def close(self) -> None:
        """Close the descriptor and take the link away.  Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
            if self.tagged is not None:
                self.tagged.close()
            if self._far:
                self._links.delete(self._far)

    def set_carrier(self, on: bool) -> None:
        """Tell the stack whether somebody is at the other end.  Raises OSError."""
        if self.fd < 0:
            return
        if self.kind == "tap":
            fcntl.ioctl(self.fd, _TUNSETCARRIER, struct.pack("=i", int(on)))
            return
        self._links.set(self._far, up=on)
        if not on:
            # The kernel reports it on the socket as well, once: ENETDOWN.
            same = socket.socket(fileno=self.fd)
            try:
                same.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            finally:
                same.detach()
            if self.tagged is not None:
                self.tagged.settle()

    def set_mtu(self, mtu: int) -> None:
        """Bytes of payload in a frame.  Raises OSError(EINVAL) for what the link cannot have."""
        self._links.set(self.name, mtu=mtu)
        if self._far:
            self._links.set(self._far, mtu=mtu)
        self.mtu = mtu

    def set_offloads(self, *, checksum: bool, tso4: bool, tso6: bool) -> None:
        """What the stack may leave to whoever reads the link: checksums, segmentation.

        What is written may be large and without checksum whatever is set here.  Raises OSError.
        """
        if self.kind == "tap":
            flags = _TUN_F_CSUM if checksum else 0
            flags |= _TUN_F_TSO4 if checksum and tso4 else 0
            flags |= _TUN_F_TSO6 if checksum and tso6 else 0
            fcntl.ioctl(self.fd, _TUNSETOFFLOAD, flags)
        else:
            # One switch for both families.
            self._links.set_offloads(self.name, checksum=checksum, segmentation=tso4 and tso6)

    def statistics(self) -> dict[str, int]:
        """The link's counters: rx and tx, as the stack sees them, of packets, bytes, errors and
        dropped.  Raises OSError(ENODEV) when it has gone."""
        return dict(self._links.get(self.name).statistics)


def carrier(link: Any, on: bool) -> None:
    """Tell a link, where there is one that wants to hear it, whether somebody is at the other end.

    Raises OSError.
    """
    setter = getattr(link, "set_carrier", None)
    if setter is not None:
        setter(on)


def offloads(link: Any, *, checksum: bool, tso4: bool, tso6: bool) -> None:
    """As `Link.set_offloads`, of a link where there is one that wants to hear it."""
    setter = getattr(link, "set_offloads", None)
    if setter is not None:
        setter(checksum=checksum, tso4=tso4, tso6=tso6)


def open_link(
    links: Links,
    name: str,
    *,
    mac: str | None = None,
    mtu: int = 1500,
    kinds: Sequence[Kind] = ("tap", "packet"),
) -> Link:
    """Make a link of that name, switched off and without carrier, and its descriptor.

    Args:
        links: of the namespace; must stay open as long as the link.
        mac: its address; the kernel's choice without one.
        kinds: which to try, in this order.

    Raises: NoLink when none of the kinds is to be had; OSError, ValueError for a name, MAC or MTU
    that the kernel does not take.
    """
    check_name(name)
    refusals = []
    for kind in kinds:
        try:
            link = (_open_tap if kind == "tap" else _open_packet)(links, name)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.EBUSY):
                raise OSError(error.errno, f"{name}: there is such a link") from None
            refusals.append(f"{kind}: {error.strerror or error}")
            continue
        try:
            links.set(name, mac=mac, queue=QUEUE, gso_max_size=GSO_MAX)
            link.set_mtu(mtu)
            link.set_offloads(checksum=True, tso4=True, tso6=True)
            link.set_carrier(False)
        except BaseException:
            link.close()
            raise
        return link
    raise NoLink(
        f"{name}: this machine allows no network link in a namespace of our own "
        f"({'; '.join(refusals)}). A vif needs user namespaces with network namespaces "
        "(sysctl user.max_user_namespaces, user.max_net_namespaces), or root."
    )


def _open_tap(links: Links, name: str) -> Link:
    fd = os.open(TUN_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
        # struct ifreq: name, flags
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("=16sH22x", name.encode(), flags))
        fcntl.ioctl(fd, _TUNSETVNETHDRSZ, struct.pack("=i", VNET_HEADER))
    except BaseException:
        os.close(fd)
        raise
    return Link(links, name, "tap", fd)


def _open_packet(links: Links, name: str) -> Link:
    far = f"{name[: IFNAMSIZ - 4]}-p"
    links.add_veth(far, name)  # the second is made first, and is the first in every list
    try:
        # The far end belongs to the socket alone: no address, no ARP, so that the stack, which
        # sees both ends, answers nothing there.
        links.set(far, arp=False, autoconfigure=False, queue=QUEUE, gso_max_size=GSO_MAX)
        index = links.get(far).index
        with _packet_socket(index, tagged=True) as other, _packet_socket(index) as sock:
            for one in (other, sock):  # both listen from now on
                one.bind((far, _ETH_P_ALL))
            link = Link(links, name, "packet", sock.detach(), far)
            link.tagged = TaggedFrames(socket.socket(fileno=other.detach()))
            return link
    except BaseException:
        links.delete(far)
        raise


def _packet_socket(index: int, *, tagged: bool = False) -> socket.socket:
    """A socket for frames of link *index*, with a VLAN's tag or without; deaf until it is bound."""
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    sock = socket.socket(socket.AF_PACKET, kind, 0)
    try:
        sock.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        sock.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
        sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        membership = struct.pack("=iHH8x", index, _PACKET_MR_PROMISC, 0)
        sock.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
        for which in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, which, _SOCKET_BUFFER)
        only(sock, tagged=tagged)
    except BaseException:
        sock.close()
        raise
    return sock
