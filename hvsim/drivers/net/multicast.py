"""Which multicast frames a guest hears (``request-multicast-control``, xen/io/netif.h)."""

from __future__ import annotations

from typing import Final

MAX_ADDRESSES: Final = 64
"""Addresses of one guest (netback's XEN_NETBK_MCAST_MAX)."""
_BROADCAST: Final = b"\xff" * 6


class Multicast:
    """The filter of one guest; without control it hears everything."""

    def __init__(self, *, on: bool = False) -> None:
        self.on = on
        self._addresses: set[bytes] = set()

    def change(self, add: bool, address: bytes) -> bool:
        """Add or remove an address; False when that cannot be."""
        if not add:
            self._addresses.discard(address)
            return True
        if address in self._addresses:
            return True
        if not self.on or not address[0] & 1 or len(self._addresses) >= MAX_ADDRESSES:
            return False
        self._addresses.add(address)
        return True

    def wanted(self, destination: bytes) -> bool:
        """Whether the guest hears frames for this address."""
        if not self.on or not destination or not destination[0] & 1:
            return True
        return destination == _BROADCAST or destination in self._addresses
