"""A guest's side of its vifs: its own network stack, with `eth<n>` for the vif of that number.

The kernel below the guest is Linux' own, in the network namespace of the domain's process, so every
program of the domain uses it: the guest's Python and what `hvsim exec` starts.  This module is what
a real guest's boot does: loopback up, xen-netfront loaded, addresses and routes set.

`args["net"]` of the domain says what is set where, a map for each vif:

    index       number of the vif
    mac         its address; without one, what the store says
    address     IPv4 or IPv6 with prefix, or a list of them; without one the link stays bare
    gateway     of the default route; optional
    mtu         bytes; without one, what the store says

A vif that is attached to a running domain gets a link as well, without addresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from hvsim.drivers.net.announce import announcement
from hvsim.drivers.net.front import NetFront
from hvsim.drivers.net.link import VNET_HEADER, Link, NoLink, open_link
from hvsim.drivers.net.links import Links
from hvsim.names import address as address_names
from hvsim.names import mac as mac_names

if TYPE_CHECKING:
    from hvsim.domain import Domain
    from hvsim.drivers.net.protocol import VifInfo

DEFAULT_MTU: Final = 1500


class Stack:
    """The network stack of one domain."""

    def __init__(self, dom: Domain) -> None:
        """Loopback is up afterwards.  Raises: NoLink."""
        self._dom = dom
        try:
            self._links = Links()
            self._links.set("lo", up=True)
        except OSError as error:
            raise NoLink(
                f"a vif needs a network namespace of the domain's own, which this machine does "
                f"not allow ({error.strerror or error}); `hvsim ps` says which walls are missing"
            ) from None
        wanted = dom.args.get("net")
        self._wanted: dict[int, Mapping[str, Any]] = {
            int(entry["index"]): entry for entry in (wanted if isinstance(wanted, list) else [])
        }

    def make_link(self, vif: VifInfo) -> Link | None:
        """`eth<n>` for that vif, set up and without carrier; None, and a log line, without one."""
        wanted = self._wanted.get(vif.index, {})
        name = f"eth{vif.index}"
        mac = str(wanted.get("mac") or vif.mac)
        try:
            link = open_link(
                self._links,
                name,
                mac=mac,
                mtu=int(wanted.get("mtu") or vif.mtu or DEFAULT_MTU),
                kinds=("packet", "tap"),
            )
        except (NoLink, OSError, ValueError) as failure:
            self._dom.log(f"{name}: no link: {failure}")
            return None
        try:
            self._links.set(name, up=True)
            self._links.probe_often(name)
            self._configure(link, mac, wanted)
        except (OSError, ValueError) as failure:
            # The link is there; who looks sees what it lacks.
            self._dom.log(f"{name}: {failure}")
        return link

    def _configure(self, link: Link, mac: str, wanted: Mapping[str, Any]) -> None:
        given = wanted.get("address") or []
        addresses = [given] if isinstance(given, str) else [str(one) for one in given]
        for address in addresses:
            self._links.add_address(link.name, address)
        link.announcements = tuple(
            bytes(VNET_HEADER)
            + announcement(mac_names.bytes_of(mac), address_names.interface(address).ip)
            for address in addresses
        )
        gateway = wanted.get("gateway")
        if gateway:
            self._links.add_default_route(link.name, str(gateway))


def start(dom: Domain) -> None:
    """Bring up the network stack of a domain, once; its vifs get links as the bus finds them.

    Raises: NoLink.
    """
    if dom not in _STACKS:
        stack = _STACKS[dom] = Stack(dom)
        NetFront.register(dom, stack.make_link)


_STACKS: Final[WeakKeyDictionary[Domain, Stack]] = WeakKeyDictionary()
