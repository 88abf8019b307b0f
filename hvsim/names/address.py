"""IP addresses of guests: "10.0.0.2", "10.0.0.2/24", "fe80::1/64"."""

import ipaddress
from typing import Final

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LENGTHS: Final = {4: 24, 6: 64}
"""Bits of the network of an address that was written without, by version."""


def interface(text: str) -> Interface:
    """An address with the length of its network: the one that is written, or 24 and 64.

    Raises: ValueError.
    """
    found = ipaddress.ip_interface(text)
    if "/" in text:
        return found
    return ipaddress.ip_interface(f"{text}/{_LENGTHS[found.version]}")


def address(text: str) -> Address:
    """An address alone.  Raises: ValueError."""
    return ipaddress.ip_address(text)


def of_spec(ip: str | None) -> list[str]:
    """The addresses of a vif's ``ip=``, which have blanks between them."""
    return (ip or "").split()


def plain(text: str) -> str:
    """An address as written, without the length of its network."""
    return text.partition("/")[0]


def first(ip: str | None) -> str | None:
    """The first address of a vif's ``ip=``, without its length; None when it has none."""
    found = of_spec(ip)
    return plain(found[0]) if found else None
