"""Network interfaces: what xl understands of them, and what the store says then."""

import pytest

from hvsim.toolstack.config import ConfigError, VifConfig, parse_config, parse_vif
from hvsim.toolstack.config.vif import parse_rate
from hvsim.toolstack.layout import Device, Vif, move
from hvsim.toolstack.nic import made_up_mac


def test_every_word_means_something() -> None:
    words = (
        "mac=00:16:3E:00:00:01,bridge=br1,ip=10.0.0.2/24,backend=net,rate=10Mb/s@20ms,"
        "script=vif-route,vifname=web0,mtu=9000,gatewaydev=eth9,model=e1000,type=vif"
    )
    assert parse_vif([words]) == (
        VifConfig(
            mac="00:16:3e:00:00:01",
            bridge="br1",
            ip="10.0.0.2/24",
            rate=(25_000, 20_000),
            backend="net",
            script="vif-route",
            ifname="web0",
            mtu=9000,
            gatewaydev="eth9",
        ),
        None,
    )


def test_words_apart_and_with_commas_mean_the_same() -> None:
    assert parse_vif(["mac=00:16:3e:00:00:01", "bridge=a"]) == parse_vif(
        ["mac=00:16:3e:00:00:01,bridge=a"]
    )


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("mac=bogus", "Invalid parameter `mac'."),
        ("nonsense", "unrecognized argument `nonsense'"),
        ("colour=red", "unrecognized argument `colour=red'"),
        ("ip=10.0.0.300", "Invalid parameter `ip': 10.0.0.300 is no address"),
        ("bridge=a/b", "Invalid parameter `bridge': a link's name has up to 15 letters"),
        ("mtu=1", "Invalid parameter `mtu': 68 to 65535 is wanted"),
        ("rate=fast", "command line: config parsing error in vif: invalid rate in `fast'"),
    ],
)
def test_a_bad_word_is_said_and_what_came_before_counts(word: str, text: str) -> None:
    assert parse_vif([f"backend=net,{word},script=x"]) == (VifConfig(backend="net"), text)


def test_a_config_with_a_bad_mac_goes_on_as_xls_does() -> None:
    config = parse_config('name="g"\nprogram="m:f"\nvif=["mac=bogus,bridge=x"]\n', "f")
    assert config.warnings == ("Invalid parameter `mac'.",)
    assert config.vifs == (VifConfig(),)


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
    "text", ["", "0MB/s", "1MB", "-1B/s", "1MB/s@0s", "1TB/s", "1MB/s@9999999s"]
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
