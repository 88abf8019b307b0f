"""Network links of this process's own network namespace: a bridge, its ports, addresses, routes.

Needs CAP_NET_ADMIN over that namespace, which a domain with a vif has in its own user namespace.
Everything is done through rtnetlink (netlink.py); nothing is a program that is started.

Sources: linux/if_link.h, linux/if_addr.h, linux/rtnetlink.h, linux/neighbour.h,
linux/ethtool.h, linux/sockios.h.
"""

from __future__ import annotations

import array
import errno
import fcntl
import ipaddress
import socket
import struct
from dataclasses import dataclass
from typing import Final

from hvsim.drivers.net.netlink import (
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    RTM_DELLINK,
    RTM_GETLINK,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    RTM_SETNEIGHTBL,
    Attribute,
    Netlink,
    pack,
    text,
    u32,
    unpack,
)
from hvsim.names import address as names
from hvsim.names import mac as mac_names

IFF_UP: Final = 1
IFF_NOARP: Final = 0x80
IFF_PROMISC: Final = 0x100
IFNAMSIZ: Final = 16

_IFLA_ADDRESS: Final = 1
_IFLA_IFNAME: Final = 3
_IFLA_MTU: Final = 4
_IFLA_MASTER: Final = 10
_IFLA_TXQLEN: Final = 13
_IFLA_LINKINFO: Final = 18
_IFLA_STATS64: Final = 23
_IFLA_AF_SPEC: Final = 26
_IFLA_CARRIER: Final = 33
_IFLA_GSO_MAX_SIZE: Final = 41
_IFLA_INFO_KIND: Final = 1
_IFLA_INFO_DATA: Final = 2
_VETH_INFO_PEER: Final = 1
_IFLA_BR_FORWARD_DELAY: Final = 1
_IFLA_BR_STP_STATE: Final = 5
_IFLA_BR_MCAST_SNOOPING: Final = 23
_IFLA_INET6_ADDR_GEN_MODE: Final = 8
_GEN_MODE_NONE: Final = 1

_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_IFA_BROADCAST: Final = 4
_IFA_F_NODAD: Final = 0x02
_RTA_OIF: Final = 4
_RTA_GATEWAY: Final = 5
_RT_TABLE_MAIN: Final = 254
_RTPROT_BOOT: Final = 3

_NDTA_NAME: Final = 1
_NDTA_PARMS: Final = 6
_NDTPA_IFINDEX: Final = 1
_NDTPA_RETRANS_TIME: Final = 5
_NDTPA_UCAST_PROBES: Final = 10
_NDTPA_MCAST_PROBES: Final = 11
_NEIGHBOURS: Final = ((socket.AF_INET, "arp_cache"), (socket.AF_INET6, "ndisc_cache"))
PROBE_EVERY: Final = 25
PROBE_FOR: Final = 3000
"""Milliseconds between two questions for a neighbour's address, where Linux has 1000, and after
which nobody is asked any more, as in Linux."""

_SIOCETHTOOL: Final = 0x8946
_ETHTOOL_STXCSUM: Final = 0x17
_ETHTOOL_SSG: Final = 0x19
_ETHTOOL_STSO: Final = 0x1F

_INFO: Final = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_STATISTICS: Final = (
    "rx_packets", "tx_packets", "rx_bytes", "tx_bytes",
    "rx_errors", "tx_errors", "rx_dropped", "tx_dropped",
)  # fmt: skip
"""The first fields of ``struct rtnl_link_stats64``, each 64 bits."""

_ZERO_MAC: Final = "00:00:00:00:00:00"

Address = ipaddress.IPv4Interface | ipaddress.IPv6Interface


@dataclass(frozen=True)
class LinkState:
    """One link as it stands.

    Attributes:
        index, name, mtu: as ``ip link`` shows them.
        mac: in lower case with colons.
        up: whether it is switched on; carrier: whether it has somebody at its other end.
        master: index of the bridge that it is a port of, 0 without one.
    """

    index: int
    name: str
    mac: str
    mtu: int
    up: bool
    carrier: bool
    master: int
    statistics: dict[str, int]


class Links:
    """The links of the namespace.  Every method raises OSError with the kernel's errno and a text
    that names the link and what was to be done with it."""

    def __init__(self) -> None:
        self._netlink = Netlink()

    def close(self) -> None:
        """Let go of the socket; links stay.  Idempotent."""
        self._netlink.close()

    # -- looking -----------------------------------------------------------------------------

    def find(self, name: str) -> LinkState | None:
        """The link of that name, None when there is none."""
        check_name(name)
        try:
            found = self._netlink.get(
                RTM_GETLINK, _info() + pack([(_IFLA_IFNAME, text(name))]), what=name
            )
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return _link(found[0])

    def get(self, name: str) -> LinkState:
        """The link of that name.  Raises OSError(ENODEV) when there is none."""
        link = self.find(name)
        if link is None:
            raise OSError(errno.ENODEV, f"{name}: there is no such link")
        return link

    def name_of(self, index: int) -> str:
        """What the link of that number is called now.  Raises OSError(ENODEV) without one."""
        found = self._netlink.get(RTM_GETLINK, _info(index), what=f"link {index}")
        return _link(found[0]).name

    def all(self) -> list[LinkState]:
        """Every link, in the order of their numbers."""
        return [_link(body) for body in self._netlink.get(RTM_GETLINK, _info(), NLM_F_DUMP)]

    # -- making and removing -----------------------------------------------------------------

    def add_bridge(self, name: str) -> None:
        """Make a bridge as Xen's host has it: no spanning tree, no delay, every multicast to
        every port.  One that exists is left as it is."""
        options: list[Attribute] = [
            (_IFLA_BR_FORWARD_DELAY, u32(0)),
            (_IFLA_BR_STP_STATE, u32(0)),
            (_IFLA_BR_MCAST_SNOOPING, b"\0"),
        ]
        try:
            self._new(name, [(_IFLA_INFO_KIND, b"bridge"), (_IFLA_INFO_DATA, options)])
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise

    def add_veth(self, name: str, peer: str) -> None:
        """Make a pair of links: what one sends, the other receives."""
        other = _info() + pack([(_IFLA_IFNAME, text(peer))])
        data: list[Attribute] = [(_VETH_INFO_PEER, other)]
        self._new(name, [(_IFLA_INFO_KIND, b"veth"), (_IFLA_INFO_DATA, data)])

    def delete(self, name: str) -> None:
        """Remove a link; the other end of a pair goes with it.  One that has gone is no error."""
        try:
            self._netlink.do(
                RTM_DELLINK, _info() + pack([(_IFLA_IFNAME, text(name))]), what=f"{name}: remove"
            )
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise

    def _new(self, name: str, kind: list[Attribute]) -> None:
        check_name(name)
        body = _info() + pack([(_IFLA_IFNAME, text(name)), (_IFLA_LINKINFO, kind)])
        self._netlink.do(RTM_NEWLINK, body, NLM_F_CREATE | NLM_F_EXCL, f"{name}: make")

    # -- changing ----------------------------------------------------------------------------

    def set(
        self,
        name: str,
        *,
        up: bool | None = None,
        mtu: int | None = None,
        mac: str | None = None,
        master: str | None = None,
        queue: int | None = None,
        gso_max_size: int | None = None,
        arp: bool | None = None,
        promiscuous: bool | None = None,
        autoconfigure: bool | None = None,
    ) -> None:
        """Change what is given of a link.

        Args:
            mac: ``aa:bb:cc:dd:ee:ff``.
            master: the bridge that it becomes a port of; "" takes it out.
            queue: packets that may wait to be sent.
            autoconfigure: False: it gets no IPv6 address of its own.
        """
        flags = change = 0
        for wanted, flag in ((up, IFF_UP), (promiscuous, IFF_PROMISC)):
            if wanted is not None:
                change |= flag
                flags |= flag if wanted else 0
        if arp is not None:
            change |= IFF_NOARP
            flags |= 0 if arp else IFF_NOARP
        attributes: list[Attribute] = [(_IFLA_IFNAME, text(name))]
        if mtu is not None:
            attributes.append((_IFLA_MTU, u32(mtu)))
        if mac is not None and mac != _ZERO_MAC:
            attributes.append((_IFLA_ADDRESS, mac_names.bytes_of(mac)))
        if master is not None:
            attributes.append((_IFLA_MASTER, u32(self.get(master).index if master else 0)))
        if queue is not None:
            attributes.append((_IFLA_TXQLEN, u32(queue)))
        if gso_max_size is not None:
            attributes.append((_IFLA_GSO_MAX_SIZE, u32(gso_max_size)))
        if autoconfigure is not None:
            mode = b"\0" if autoconfigure else bytes([_GEN_MODE_NONE])
            family: list[Attribute] = [(socket.AF_INET6, [(_IFLA_INET6_ADDR_GEN_MODE, mode)])]
            attributes.append((_IFLA_AF_SPEC, family))
        self._netlink.do(
            RTM_NEWLINK, _info(flags=flags, change=change) + pack(attributes), what=f"{name}: set"
        )

    def rename(self, link: LinkState, name: str) -> None:
        """Call a link, which is switched off, by another name."""
        check_name(name)
        body = _info(link.index) + pack([(_IFLA_IFNAME, text(name))])
        self._netlink.do(RTM_NEWLINK, body, what=f"{link.name}: rename to {name}")

    def add_address(self, name: str, address: str) -> None:
        """Give a link an address with its prefix, ``10.0.0.2/24``; again is no error.

        Raises: ValueError for a text that is none.
        """
        own = names.interface(address)
        attributes: list[Attribute] = [
            (_IFA_LOCAL, own.ip.packed),
            (_IFA_ADDRESS, own.ip.packed),
        ]
        if isinstance(own, ipaddress.IPv4Interface) and own.network.prefixlen < 31:
            attributes.append((_IFA_BROADCAST, own.network.broadcast_address.packed))
        family = socket.AF_INET if own.version == 4 else socket.AF_INET6
        # struct ifaddrmsg: family, prefix length, flags, scope, index
        body = struct.pack(
            "=BBBBI", family, own.network.prefixlen, _IFA_F_NODAD, 0, self.get(name).index
        )
        self._netlink.do(
            RTM_NEWADDR,
            body + pack(attributes),
            NLM_F_CREATE | NLM_F_REPLACE,
            f"{name}: address {address}",
        )

    def add_default_route(self, name: str, gateway: str) -> None:
        """Send what is for no known network through *gateway*; again replaces it.

        Raises: ValueError for a text that is no address.
        """
        to = names.address(gateway)
        family = socket.AF_INET if to.version == 4 else socket.AF_INET6
        # struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
        body = struct.pack("=BBBBBBBBI", family, 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_BOOT, 0, 1, 0)
        attributes: list[Attribute] = [
            (_RTA_GATEWAY, to.packed),
            (_RTA_OIF, u32(self.get(name).index)),
        ]
        self._netlink.do(
            RTM_NEWROUTE,
            body + pack(attributes),
            NLM_F_CREATE | NLM_F_REPLACE,
            f"{name}: route over {gateway}",
        )

    def probe_often(self, name: str) -> None:
        """Ask for a neighbour's address again soon when nobody has answered.

        A domain's first question often comes before the one who is asked has an interface, and
        then the first answer to anything would wait for the next question, a second later.
        """
        probes = u32(PROBE_FOR // PROBE_EVERY)
        parameters: list[Attribute] = [
            (_NDTPA_IFINDEX, u32(self.get(name).index)),
            (_NDTPA_RETRANS_TIME, struct.pack("=Q", PROBE_EVERY)),
            (_NDTPA_UCAST_PROBES, probes),
            (_NDTPA_MCAST_PROBES, probes),
        ]
        for family, table in _NEIGHBOURS:
            # struct ndtmsg: family
            body = struct.pack("=Bxxx", family)
            body += pack([(_NDTA_NAME, text(table)), (_NDTA_PARMS, parameters)])
            try:
                self._netlink.do(RTM_SETNEIGHTBL, body, what=f"{name}: how often to ask neighbours")
            except OSError as error:
                if error.errno != errno.ENOENT or family == socket.AF_INET:
                    raise  # else: a machine, or a link, without IPv6

    def set_offloads(self, name: str, *, checksum: bool, segmentation: bool) -> None:
        """Whether a link takes packets from its stack without checksum, and larger than its MTU.

        For links of the kind veth; a TAP's are set through its descriptor.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
            for command, value in (
                (_ETHTOOL_STXCSUM, checksum),
                (_ETHTOOL_SSG, checksum),
                (_ETHTOOL_STSO, checksum and segmentation),
            ):
                # struct ifreq with a pointer to struct ethtool_value
                asked = array.array("I", [command, int(value)])
                request = struct.pack("=16sQ16x", text(name), asked.buffer_info()[0])
                try:
                    fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
                except OSError as error:
                    raise OSError(error.errno, f"{name}: offloads: {error.strerror}") from None


def check_name(name: str) -> None:
    """Raises OSError(EINVAL) for what cannot be a link's name."""
    if not name or len(name.encode()) >= IFNAMSIZ:
        raise OSError(errno.EINVAL, f"{name!r} is no name for a link: 1 to 15 bytes are")


def _info(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return _INFO.pack(socket.AF_UNSPEC, 0, index, flags, change)


def _link(body: bytes) -> LinkState:
    _, _, index, flags, _ = _INFO.unpack_from(body)
    found = unpack(body[_INFO.size :])
    counted = struct.Struct(f"={len(_STATISTICS)}Q")
    numbers = counted.unpack(
        found.get(_IFLA_STATS64, b"")[: counted.size].ljust(counted.size, b"\0")
    )
    return LinkState(
        index=index,
        name=found.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace"),
        mac=found.get(_IFLA_ADDRESS, b"").hex(":"),
        mtu=_number(found.get(_IFLA_MTU)),
        up=bool(flags & IFF_UP),
        carrier=found.get(_IFLA_CARRIER) == b"\1",
        master=_number(found.get(_IFLA_MASTER)),
        statistics=dict(zip(_STATISTICS, numbers, strict=True)),
    )


def _number(value: bytes | None) -> int:
    """A number of 32 bits in an attribute; 0 without it."""
    return int(struct.unpack("=I", value[:4])[0]) if value else 0
