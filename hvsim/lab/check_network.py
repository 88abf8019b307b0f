"""What the network interfaces of a lab file say together: addresses, and the way out."""

import ipaddress
from collections.abc import Iterator, Sequence

from hvsim.lab.model import Domain, Vif

Fault = tuple[tuple[str | int, ...], str, str]
"""Where in the file, what is wrong, and the remedy."""


def network_faults(domains: Sequence[tuple[int, Domain]]) -> Iterator[Fault]:
    """Every fault; domains come with their table's index."""
    yield from _used_twice(domains)
    for index, domain in domains:
        for number, vif in enumerate(domain.vifs):
            if vif.mac is not None and int(vif.mac[:2], 16) & 1:
                yield (
                    ("domain", index),
                    f"vif {number}: {vif.mac} is the address of a group, not of an interface",
                    "make its first byte even, as in 00:16:3e:00:00:01",
                )
        yield from _gateway(index, domain)


def _used_twice(domains: Sequence[tuple[int, Domain]]) -> Iterator[Fault]:
    """Two interfaces with one address are a riddle for whoever looks at the wire."""
    users: dict[str, str] = {}
    for index, domain in domains:
        for number, vif in enumerate(domain.vifs):
            for address in [*_addresses(vif), *([vif.mac] if vif.mac else [])]:
                earlier = users.get(address)
                users.setdefault(address, f"vif {number} of {domain.name!r}")
                if earlier is not None:
                    yield (
                        ("domain", index),
                        f"vif {number}: {address} is that of {earlier} too",
                        "give each its own, or leave mac= out and one is made up",
                    )


def _gateway(index: int, domain: Domain) -> Iterator[Fault]:
    """The way out must be an address, and lie in the network of the first interface."""
    gateway = domain.args.get("gateway")
    if not isinstance(gateway, str):
        return
    place = ("domain", index, "gateway")
    try:
        way = ipaddress.ip_address(gateway)
    except ValueError:
        yield place, f"{gateway} is no address", "write one as in 10.0.0.254"
        return
    first = domain.vifs[0].ip.split()[:1] if domain.vifs and domain.vifs[0].ip else []
    if not first:
        yield place, "the domain has no address to reach it from", 'add vif = ["ip=10.0.0.2/24"]'
        return
    # Without a length a guest takes /24, or /64 (hvsim.toolstack.guest_network).
    length = "" if "/" in first[0] else "/64" if ":" in first[0] else "/24"
    network = ipaddress.ip_interface(first[0] + length).network
    if way not in network:
        yield (
            place,
            f"{gateway} is not in {network}, the network of its first interface",
            "name a router of that network, or correct ip=",
        )


def _addresses(vif: Vif) -> list[str]:
    return [one.partition("/")[0] for one in (vif.ip or "").split()]
