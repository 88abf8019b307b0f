"""A network backend's side of its vifs: `vif<domid>.<n>` on a Linux bridge, as Xen's scripts do.

What /etc/xen/scripts/vif-bridge does on a real host: the link gets the MAC of all backends, which
no frame is ever sent to, is put on the bridge that the vif names, and is switched on.  Everything
lies in the network namespace of the domain that serves; the machine's own links are not touched.
"""

from __future__ import annotations

import errno
import zlib
from typing import TYPE_CHECKING, Final

from hvsim.drivers.net.link import Link, NoLink, open_link
from hvsim.drivers.net.links import Links

if TYPE_CHECKING:
    from collections.abc import Callable

    from hvsim.drivers.net.protocol import VifInfo

DEFAULT_BRIDGE: Final = "xenbr0"
BACKEND_MAC: Final = "fe:ff:ff:ff:ff:ff"
BRIDGE_MAC: Final = "02:16:3e"
"""How the addresses of our bridges begin; locally administered."""


class Bridges:
    """The bridges of one domain, and the links on them.

    Args:
        make_all: whether a bridge that a vif names and that does not exist is made.
    """

    def __init__(self, log: Callable[[str], None], *, make_all: bool = True) -> None:
        """Loopback is up afterwards.  Raises: NoLink."""
        self._log = log
        self._make_all = make_all
        try:
            self._links = Links()
            self._links.set("lo", up=True)
        except OSError as error:
            raise NoLink(
                "serving vifs needs a network namespace of the domain's own, which this machine "
                f"does not allow ({error.strerror or error}); `hvsim ps` says what is missing"
            ) from None

    @property
    def links(self) -> Links:
        """The links of the namespace."""
        return self._links

    def add(self, bridge: str, addresses: tuple[str, ...] = ()) -> None:
        """Make a bridge, switched on, with addresses of the domain's own on it.

        Raises: OSError, ValueError that name it.
        """
        if self._links.find(bridge) is None:
            self._links.add_bridge(bridge)
            # Its own address, and the same when the domain is built again: neighbours know it.
            number = zlib.crc32(bridge.encode())
            self._links.set(bridge, mac=f"{BRIDGE_MAC}:{number.to_bytes(4, 'big')[1:].hex(':')}")
        self._links.set(bridge, up=True)
        if addresses:
            self._links.probe_often(bridge)
        for address in addresses:
            self._links.add_address(bridge, address)

    def make_link(self, vif: VifInfo) -> Link:
        """The link of a vif, switched off and on no bridge; its `plug` does what is left.

        The bridge that it names is there afterwards.
        Raises: NoLink, OSError, ValueError: what hotplug failed with, for its error node.
        """
        bridge = vif.bridge or DEFAULT_BRIDGE
        if self._links.find(bridge) is None:
            if not self._make_all:
                raise NoLink(f"could not find bridge device {bridge}")
            self.add(bridge)
        # As vif-bridge: what the device says, else what its bridge has.
        mtu = vif.mtu or self._links.get(bridge).mtu
        link = open_link(self._links, vif.name, mac=BACKEND_MAC, mtu=mtu)
        try:
            self._links.set(vif.name, autoconfigure=False)
        except BaseException:
            link.close()
            raise
        link.plug = lambda: self._plug(link, bridge, vif.wanted_name)
        return link

    def _plug(self, link: Link, bridge: str, wanted_name: str) -> None:
        """Unless somebody has: the name that the config wants, the bridge, switched on.

        Raises: OSError that names the link.
        """
        state = self._links.get(link.name)
        if wanted_name and state.name != wanted_name:
            if self._links.find(wanted_name) is not None:
                raise OSError(errno.EEXIST, f"{wanted_name}: there is such a link")
            self._links.rename(state, wanted_name)
        if not state.master:
            self._links.set(link.name, master=bridge, up=True)
