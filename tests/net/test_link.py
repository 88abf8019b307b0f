"""A link: whole frames, checksums and segmentation left out, on a TAP and on a packet socket."""

from typing import Any

import pytest

from hvsim.drivers.net.link import TUN_DEVICE
from hvsim.drivers.net.offload import F_NEEDS_CSUM, GSO_TCPV4, VNET
from hvsim.drivers.net.tagged import put_back
from tests.net.inside import inside
from tests.support import optional

KINDS = [pytest.param("tap", marks=pytest.mark.interop), "packet"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of link that this machine allows."""
    if request.param == "tap":
        optional.device(TUN_DEVICE)
    return str(request.param)


def case(name: str, **arguments: Any) -> Any:
    return inside(f"tests.net.cases:{name}", **arguments)


def test_a_datagram_comes_with_its_checksum_partial_and_one_goes_back(kind: str) -> None:
    """Red without TUNSETOFFLOAD (tap) or PACKET_VNET_HDR (packet)."""
    assert case("one_datagram", kind=kind) == {
        "partial": True,
        "start": 34,
        "offset": 6,
        "source": "00:16:3e:00:00:01",
        "back": "hello there",
        "peer": ["10.9.0.2", 9],
        "seen": True,
    }


def test_the_tag_of_a_vlan_is_kept_both_ways(kind: str) -> None:
    """Red (packet) when everything is read from one socket: the frame comes without its tag."""
    assert case("vlan", kind=kind) == {"same": True, "tci": 0xA005}


def test_what_the_header_says_moves_with_the_tag() -> None:
    vnet = VNET.pack(F_NEEDS_CSUM, GSO_TCPV4, 54, 1448, 34, 16)
    frame = bytes(range(60))
    told, whole = put_back(vnet, frame, (0x51, 60, 60, 0, 0, 0x2005, 0x88A8))
    assert whole == frame[:12] + bytes.fromhex("88a82005") + frame[12:]
    assert VNET.unpack(told) == (F_NEEDS_CSUM, GSO_TCPV4, 58, 1448, 38, 16)
    assert put_back(vnet, frame, (0, 60, 60, 0, 0, 0, 0)) == (vnet, frame)


def test_tcp_crosses_in_frames_larger_than_the_mtu(kind: str) -> None:
    """Red with set_offloads(tso4=False) in open_link: no frame is large then."""
    found = case("bulk", kind=kind)
    assert found["status"] == 0
    # 16 MiB in frames of 1514 bytes would be eleven thousand; most go whole.
    assert found["large"] > 200
    assert found["partial"] > 0


def test_the_carrier_follows_and_closing_takes_the_link_away(kind: str) -> None:
    found = case("carrier", kind=kind)
    assert found["seen"] == [True, False, True]
    assert found["mtu"] == 9000
    assert "eth0" in found["names"]
    assert found["after"] == ["lo"]


def test_a_stack_that_may_leave_nothing_to_us_sums_itself(kind: str) -> None:
    found = case("offloads", kind=kind)
    assert found["flags"] == 0
    assert found["sum"] != "0000"


def test_what_cannot_be_is_refused_by_name(kind: str) -> None:
    found = case("refusals", kind=kind)
    assert (
        found["a-name-of-sixteen"] == "'a-name-of-sixteen' is no name for a link: 1 to 15 bytes are"
    )
    assert "is no name for a link" in found[""]
    number = {"tap": 16, "packet": 17}[kind]
    assert found["twice"] == f"[Errno {number}] eth0: there is such a link"
    assert found["mac"] == "'00:16:3e' is no MAC address such as 00:16:3e:00:00:01"
    assert found["left"] == "lo"


def test_a_machine_that_allows_none_is_told_in_a_sentence() -> None:
    said = case("no_link")
    assert said.startswith("eth0: this machine allows no network link in a namespace of our own")
    assert "sysctl user.max_user_namespaces" in said


def test_bridge_addresses_and_routes_as_another_program_sees_them() -> None:
    assert case("bridge") == {
        "kind": "bridge",
        "master": True,
        "mac": "fe:ff:ff:ff:ff:ff",
        "mtu": 1400,
        "addresses": ["10.9.0.1/24", "fd00::1/64"],
        "gateways": ["10.9.0.253"],
        "freed": 0,
        "after": ["lo"],
    }
