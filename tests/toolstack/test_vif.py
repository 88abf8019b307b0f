"""Network interfaces: what xl understands of them, and what the store says then."""

import pytest

from hvsim.toolstack.config import ConfigError, VifConfig, parse_config, parse_vif, words_of
from hvsim.toolstack.config.rate import parse_rate
from hvsim.toolstack.devices.nodes import move
from hvsim.toolstack.devices.vif import refusals
from hvsim.toolstack.devices.vif.half import Vif
from hvsim.toolstack.devices.vif.type import made_up_mac
from hvsim.toolstack.host.device import Device


def test_every_word_means_something() -> None:
    words = (
        "mac=00:16:3E:00:00:01,bridge=br1,ip=10.0.0.2/24,backend=net,rate=10Mb/s@20ms,"
        "script=vif-route,vifname=web0,mtu=9000,gatewaydev=eth9,model=e1000,type=vif"
    )
    parsed = parse_vif(words_of(words))
    assert parsed.vif == VifConfig(
        mac="00:16:3e:00:00:01",
        bridge="br1",
        ip="10.0.0.2/24",
        rate=(25_000, 20_000),
        backend="net",
        script="vif-route",
        ifname="web0",
        mtu=9000,
        gatewaydev="eth9",
        model="e1000",
        kind="vif",
    )
    assert parsed.said == ()


def test_a_words_value_may_have_commas_only_where_nobody_cuts_at_them() -> None:
    assert words_of(" mac=00:16:3e:00:00:01 ,, bridge=a") == ["mac=00:16:3e:00:00:01 ", "bridge=a"]
    assert parse_vif(["bridge=a,b"]).vif == VifConfig(bridge="a,b")


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("mac=zz", "Invalid parameter `mac'."),
        ("nonsense", "unrecognized argument `nonsense'"),
        ("colour=red", "unrecognized argument `colour=red'"),
    ],
)
def test_a_bad_word_is_said_and_the_others_count(word: str, text: str) -> None:
    parsed = parse_vif(["backend=net", word, "script=x"])
    assert parsed.vif == VifConfig(backend="net", script="x")
    assert parsed.said == parsed.bad == (text,)


def test_what_is_deprecated_is_said_and_taken() -> None:
    parsed = parse_vif(["netdev=eth9", "accel=1"])
    assert parsed.vif == VifConfig(gatewaydev="eth9")
    assert len(parsed.said) == 2
    assert parsed.bad == ()


def test_a_config_with_a_bad_mac_goes_on_as_xls_does() -> None:
    config = parse_config('name="g"\nprogram="m:f"\nvif=["mac=zz,bridge=x"]\n', "f")
    assert config.warnings == ("Invalid parameter `mac'.",)
    assert config.vifs == (VifConfig(bridge="x"),)


def test_what_came_before_the_mistake_in_an_address_counts_as_in_xl() -> None:
    assert parse_vif(["mac=bogus"]).vif == VifConfig(mac="0b:00:00:00:00:00")
    assert parse_vif(["mac=1:2:3:4:5"]).vif == VifConfig(mac="01:02:03:04:05:00")


@pytest.mark.parametrize(
    ("vif", "text"),
    [
        (VifConfig(bridge="a/b"), "bridge=a/b is no name for a link"),
        (VifConfig(ifname="a" * 16), "is no name for a link"),
        (VifConfig(mtu=1), "mtu=1 is out of range"),
        (VifConfig(ip="10.0.0.1 10.0.0.300"), "ip=10.0.0.300 is no address"),
        (VifConfig(mac="01:16:3e:00:00:01"), "is the address of a group"),
        (VifConfig(rate=(0, 50_000)), "less than a byte"),
    ],
)
def test_what_xl_takes_and_nothing_could_be_made_of_is_refused(vif: VifConfig, text: str) -> None:
    refusal = refusals.vif(vif, 3)
    assert refusal is not None
    assert text in refusal.text
    assert refusal.place == "vif 3"
    assert refusal.said() == [f"xl: vif 3: {refusal.text}; {refusal.remedy}"]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1MB/s", (50_000, 50_000)),
        ("8Kb/s@1s", (1000, 1_000_000)),
        ("1GB/s@100us", (100_000, 100)),
    ],
)
def test_rates(text: str, meant: tuple[int, int]) -> None:
    assert parse_rate(text) == meant


@pytest.mark.parametrize(
    "text", ["", "0MB/s", "1MB", "-1B/s", "1MB/s@0s", "1TB/s", "10mb/s", "1MB/s@9999999s"]
)
def test_rates_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_rate(text)


def test_a_made_up_address_stays_with_the_guest() -> None:
    first = made_up_mac("13799b06-1a2d-4726-b339-b2bcccf4ce53", 0)
    assert first == made_up_mac("13799b06-1a2d-4726-b339-b2bcccf4ce53", 0)
    assert first != made_up_mac("13799b06-1a2d-4726-b339-b2bcccf4ce53", 1)
    assert first.startswith("00:16:3e:")
    assert int(first.split(":")[3], 16) < 128


def test_a_moved_interface_keeps_its_mtu_from_the_guest() -> None:
    old, new = Device(3, "vif", 0, 1), Device(3, "vif", 0, 7)
    batch = move(old, new, Vif("00:16:3e:00:00:01", "xenbr0"), ["state", "mtu"])
    perms = {
        request.path: request.payload.decode().split("\0")[1:-1]
        for request in batch
        if request.name == "SET_PERMS"
    }
    assert perms["/local/domain/3/device/vif/0/mtu"] == ["n7", "r3"]
    assert perms["/local/domain/3/device/vif/0/state"] == ["n3", "r7"]


def test_a_mistake_in_a_second_address_keeps_what_is_behind_it() -> None:
    """As in xl, which writes over the first byte by byte.  Red when all of it is written over."""
    assert parse_vif(["mac=00:16:3e:00:00:01", "mac=02:zz"]).vif.mac == "02:16:3e:00:00:01"
