"""A lab file whose interfaces cannot work is refused before anything starts."""

from pathlib import Path

import pytest

from hvsim.lab.load import load
from hvsim.lab.model import Vif
from hvsim.lab.problems import LabFileError

FORMAT = "see xl-network-configuration(5): vif = ['mac=...,bridge=...,ip=...,backend=...']"
OWN = "give each its own, or leave mac= out and one is made up"


def domain(name: str, *vifs: str, gateway: str | None = None, role: str = "guest") -> str:
    words = ", ".join(f'"{vif}"' for vif in vifs)
    way = f'gateway = "{gateway}"\n' if gateway else ""
    return (
        f'[[domain]]\nname = "{name}"\nrole = "{role}"\nprogram = "domains.guests.idle:main"\n'
        f"vif = [{words}]\n{way}"
    )


def problems(folder: Path, *domains: str) -> list[str]:
    """What is said about a lab of these domains, without the place's file."""
    file = folder / "lab.toml"
    file.write_text("".join(domains))
    with pytest.raises(LabFileError) as caught:
        load(file)
    return [str(problem).replace(f"{file}:", "") for problem in caught.value.problems]


def test_interfaces_reach_the_model(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    served = domain("web", "mac=00:16:3E:00:00:01,ip=10.0.0.2/24,backend=net", gateway="10.0.0.1")
    file.write_text(served + domain("net", role="driver"))
    web = next(one for one in load(file).domains if one.name == "web")
    assert web.vifs == (Vif("00:16:3e:00:00:01", "net", "10.0.0.2/24"),)
    assert web.args["gateway"] == "10.0.0.1"


@pytest.mark.parametrize(
    ("vif", "text"),
    [
        (
            "mac=bogus",
            ", vif 0: Invalid parameter `mac'.; write six bytes, as in 00:16:3e:00:00:01",
        ),
        (
            "ip=10.0.0.300",
            ": vif 0: ip=10.0.0.300 is no address; write it as 10.0.0.2/24, or leave it out",
        ),
        ("colour=red", f", vif 0: unrecognized argument `colour=red'; {FORMAT}"),
        ("Bridge=a", ", vif 0: unrecognized argument `Bridge=a'; did you mean 'bridge'?"),
        (
            "rate=10mb/s",
            ": config parsing error in vif: invalid rate in `10mb/s'; write a number of bytes or "
            "bits, as in 10Mb/s, 250KB/s or 1MB/s@20ms",
        ),
    ],
)
def test_what_xl_goes_on_without_refuses_a_lab(tmp_path: Path, vif: str, text: str) -> None:
    """Red when load() forgets what was left out of an interface, which xl only prints."""
    assert problems(tmp_path, domain("web", vif)) == [f"1: domain 'web'{text}"]


def test_a_backend_must_be_a_driver_domain(tmp_path: Path) -> None:
    other = domain("network")
    assert problems(tmp_path, domain("web", "backend=network"), other) == [
        "1: domain 'web': vif 0: backend=network is no driver domain; "
        "add role = \"driver\" to the domain 'network'"
    ]
    other = domain("network", role="driver")
    assert problems(tmp_path, domain("web", "bridge=a", "backend=netwrk"), other) == [
        "1: domain 'web': vif 1: backend=netwrk names no domain; did you mean 'network'?"
    ]


def test_each_interface_has_addresses_of_its_own(tmp_path: Path) -> None:
    """Those of one domain too, and however they are written.  Red when only domains differ."""
    first = domain("web", "mac=00:16:3e:00:00:0a,ip=10.0.0.1/24", "mac=00:16:3E:00:00:0A")
    assert problems(tmp_path, first, domain("db", "ip=10.0.0.1/16")) == [
        f"1: domain 'web': vif 1: 00:16:3e:00:00:0a is that of vif 0 of 'web' too; {OWN}",
        f"6: domain 'db': vif 0: 10.0.0.1 is that of vif 0 of 'web' too; {OWN}",
    ]


def test_each_link_has_a_name_of_its_own_where_it_is_served(tmp_path: Path) -> None:
    """Red without the check: the second vif would never leave InitWait."""
    web = domain("web", "vifname=w0", "vifname=w0,backend=0")
    assert problems(tmp_path, web, domain("db", "vifname=w1")) == [
        "1: domain 'web': vif 1: vifname=w0 is that of vif 0 of 'web' too, in Domain-0; "
        "give each its own, or leave it out for vif<domid>.<n>"
    ]
    file = tmp_path / "apart.toml"
    served = domain("web", "vifname=w0", "vifname=w0,backend=network")
    file.write_text(served + domain("network", role="driver"))
    assert load(file).domains


def test_the_address_of_a_group_is_none_of_an_interface(tmp_path: Path) -> None:
    assert problems(tmp_path, domain("web", "mac=01:16:3e:00:00:01")) == [
        "1: domain 'web': vif 0: 01:16:3e:00:00:01 is the address of a group, not of an "
        "interface; make its first byte even, as in 00:16:3e:00:00:01"
    ]


@pytest.mark.parametrize(
    ("vifs", "gateway", "text"),
    [
        (("ip=10.0.0.2/24",), "10.0.0.999", "10.0.0.999 is no address; write one as in 10.0.0.254"),
        (
            (),
            "10.0.0.1",
            'the domain has no address to reach it from; add vif = ["ip=10.0.0.2/24"]',
        ),
        (
            ("ip=10.0.0.2", "ip=10.0.1.2"),
            "10.0.1.1",
            "10.0.1.1 is not in 10.0.0.0/24, the network of its first interface; "
            "name a router of that network, or correct ip=",
        ),
    ],
)
def test_the_way_out_can_be_reached(
    tmp_path: Path, vifs: tuple[str, ...], gateway: str, text: str
) -> None:
    """Red without the check: the guest would start, and its stack would refuse the route."""
    assert problems(tmp_path, domain("web", *vifs, gateway=gateway)) == [
        f"6: domain 'web', gateway: {text}"
    ]
