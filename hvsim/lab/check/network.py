"""What the network interfaces of a lab file say together: addresses, and the way out."""

from collections.abc import Iterator, Sequence

from hvsim.lab.model import Domain, Vif
from hvsim.lab.problems import Fault
from hvsim.names import address
from hvsim.names.domain import DOM0, is_dom0


def network_faults(domains: Sequence[tuple[int, Domain]]) -> Iterator[Fault]:
    """Every fault; domains come with their table's index."""
    yield from _used_twice(domains)
    yield from _links_used_twice(domains)
    for index, domain in domains:
        yield from _gateway(index, domain)


def _used_twice(domains: Sequence[tuple[int, Domain]]) -> Iterator[Fault]:
    """Two interfaces with one address are a riddle for whoever looks at the wire."""
    users: dict[str, str] = {}
    for index, domain in domains:
        for number, vif in enumerate(domain.vifs):
            for one in [*_addresses(vif), *([vif.mac] if vif.mac else [])]:
                earlier = users.get(one)
                users.setdefault(one, f"vif {number} of {domain.name!r}")
                if earlier is not None:
                    yield (
                        ("domain", index),
                        f"vif {number}: {one} is that of {earlier} too",
                        "give each its own, or leave mac= out and one is made up",
                    )


def _links_used_twice(domains: Sequence[tuple[int, Domain]]) -> Iterator[Fault]:
    """The links of two interfaces cannot have one name where they are served."""
    users: dict[tuple[str, str], str] = {}
    for index, domain in domains:
        for number, vif in enumerate(domain.guest.vifs if domain.guest else ()):
            if vif.ifname is None:
                continue
            server = DOM0 if is_dom0(vif.backend) else str(vif.backend)
            key = (server, vif.ifname)
            earlier = users.setdefault(key, f"vif {number} of {domain.name!r}")
            if earlier != f"vif {number} of {domain.name!r}":
                yield (
                    ("domain", index),
                    f"vif {number}: vifname={vif.ifname} is that of {earlier} too, in {server}",
                    "give each its own, or leave it out for vif<domid>.<n>",
                )


def _gateway(index: int, domain: Domain) -> Iterator[Fault]:
    """The way out must be an address, and lie in the network of the first interface."""
    gateway = domain.args.get("gateway")
    if not isinstance(gateway, str):
        return
    place = ("domain", index, "gateway")
    try:
        way = address.address(gateway)
    except ValueError:
        yield place, f"{gateway} is no address", "write one as in 10.0.0.254"
        return
    first = address.of_spec(domain.vifs[0].ip)[:1] if domain.vifs else []
    if not first:
        yield place, "the domain has no address to reach it from", 'add vif = ["ip=10.0.0.2/24"]'
        return
    try:
        network = address.interface(first[0]).network
    except ValueError:
        return  # told of the interface
    if way not in network:
        yield (
            place,
            f"{gateway} is not in {network}, the network of its first interface",
            "name a router of that network, or correct ip=",
        )


def _addresses(vif: Vif) -> list[str]:
    """The addresses of an interface, each in one spelling."""
    found = []
    for one in address.of_spec(vif.ip):
        try:
            found.append(str(address.interface(one).ip))
        except ValueError:
            continue  # told of the interface
    return found
