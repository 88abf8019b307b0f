"""Two guests, a network domain, and programs of the machine that talk over the rings."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.net.tcplab import checksum, download, finish, kill_network, tcp_lab
from tests.support import optional
from tests.support.labs import Commands, commands

pytestmark = pytest.mark.interop

MIB = 1 << 20


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    with commands() as made, tcp_lab(tmp_path_factory.mktemp("tcp"), made):
        yield made


def test_guests_reach_each_other_by_name_and_the_network_domain(lab: Commands) -> None:
    optional.program("ping")
    for name in ("far", "10.0.0.254"):
        told = lab.ok("exec", "near", "--", "ping", "-c", "2", "-i", "0.2", "-W", "10", name)
        assert " 0% packet loss" in told


def test_a_guest_has_its_own_links_and_no_other(lab: Commands) -> None:
    optional.program("ip")
    links = json.loads(lab.ok("exec", "near", "--", "ip", "-j", "address"))
    assert [link["ifname"] for link in links][:2] == ["lo", "eth0"]
    own = links[1]
    assert [one["local"] for one in own["addr_info"] if one["family"] == "inet"] == ["10.0.0.1"]
    assert "LOWER_UP" in own["flags"]
    bridge = json.loads(
        lab.ok("exec", "network", "--", "ip", "-j", "link", "show", "master", "xenbr0")
    )
    assert len(bridge) == 2
    assert {link["address"] for link in bridge} == {"fe:ff:ff:ff:ff:ff"}


def test_a_download_comes_whole_in_large_frames(lab: Commands) -> None:
    """Red with set_offloads(tso4=False): then the packets are as many as the MTU makes of it."""
    optional.program("ip")
    size = 64 * MIB
    before = _received(lab)
    finish(download(lab, size), size, 60)
    after = _received(lab)
    assert after["bytes"] - before["bytes"] >= size
    assert after["packets"] - before["packets"] < size / 1500 / 2


def _received(lab: Commands) -> dict[str, int]:
    [link] = json.loads(lab.ok("exec", "near", "--", "ip", "-j", "-s", "link", "show", "eth0"))
    found: dict[str, int] = link["stats64"]["rx"]
    return found


def test_a_connection_lives_through_the_death_of_the_network_domain(lab: Commands) -> None:
    """Red without the announcements of the guests, or when netfront keeps its old ring."""
    for size in (32 * MIB, 160 * MIB):  # the greater one where a death takes seconds
        with download(lab, size, "--limit-rate", "6M") as process:
            kill_network(lab)
            kill_network(lab)
            both = process.poll() is None
            finish(process, size, 90)
        if both:
            return
    pytest.fail("the download was over before the second death")


def test_iperf_runs_between_guests(lab: Commands) -> None:
    optional.program("iperf3")
    # The daemon keeps the outputs that it is given.
    lab.ok("exec", "far", "--", "sh", "-c", "iperf3 -s -1 -D >/dev/null 2>&1")
    # It may take a moment to listen.
    script = "for i in $(seq 50); do iperf3 -c far -n 32M -J >/tmp/told && break; sleep 0.2; done"
    told = json.loads(lab.ok("exec", "near", "--", "sh", "-c", f"{script}; cat /tmp/told"))
    assert told["end"]["sum_received"]["bytes"] >= 32 * MIB * 0.9


def test_checksums_are_those_of_the_body() -> None:
    assert checksum(10) != checksum(11)


def test_the_lab_is_clean_after_all_that(lab: Commands, tmp_path: Path) -> None:
    rows = lab.json("ps")["domains"]
    assert {row["name"] for row in rows} >= {"network", "near", "far"}
