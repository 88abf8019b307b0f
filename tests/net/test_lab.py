"""Two guests, a network domain, and programs of the machine that talk over the rings."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.net.tcplab import JUMBO, checksum, download, downloading, finish, kill_network, tcp_lab
from tests.support import optional
from tests.support.labs import Commands, commands

pytestmark = pytest.mark.interop

MIB = 1 << 20


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    with commands() as made, tcp_lab(tmp_path_factory.mktemp("tcp"), made, JUMBO):
        yield made


def test_guests_reach_each_other_by_name_and_the_network_domain(lab: Commands) -> None:
    optional.program("ping")
    for name in ("far", "10.0.0.254"):
        told = lab.ok("exec", "near", "--", "ping", "-c", "2", "-i", "0.2", "-W", "10", name)
        assert " 0% packet loss" in told


def test_the_first_ping_is_answered_and_waits_for_nobody(tmp_path: Path) -> None:
    """A lab is ready: of two pings, sent at once in both directions, none is lost.  Neither waits
    a second because somebody, who was not there yet, had been asked for before: neighbours are
    asked again every 25 ms, for as long as Linux does.  Seen red without ``probe_often``."""
    optional.program("ping")
    optional.program("ip")
    with commands() as made, tcp_lab(tmp_path, made):
        for name, to in (("near", "far"), ("far", "near")):
            told = made.ok("exec", name, "--", "ping", "-c", "1", "-W", "10", to)
            assert "1 packets transmitted, 1 received" in told
        for family in ("-4", "-6"):
            shown = made.ok("exec", "near", "--", "ip", family, "ntable", "show", "dev", "eth0")
            [every] = re.findall(r"\bretrans (\d+)", shown)
            assert 25 <= int(every) <= 40, "in the kernel's ticks"
            assert "ucast_probes 120" in shown
            assert "mcast_probes 120" in shown


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


def test_every_address_is_set_and_jumbo_frames_pass(lab: Commands) -> None:
    """Red when the backend's link takes its MTU from the frontend's node, or keeps 1500; and when
    only the first address of ip= is given out."""
    optional.program("ip")
    optional.program("ping")
    [link] = json.loads(lab.ok("exec", "near", "--", "ip", "-j", "address", "show", "eth1"))
    own = [one["local"] for one in link["addr_info"] if one["scope"] == "global"]
    assert (link["mtu"], own) == (9000, ["10.1.0.1", "10.2.0.1", "fd00:1::1"])
    [back] = json.loads(lab.ok("exec", "network", "--", "ip", "-j", "link", "show", "vif2.1"))
    assert (back["mtu"], back["master"]) == (9000, "jumbo")
    for to, size in (("10.1.0.2", "8972"), ("fd00:1::2", "8952"), ("10.2.0.2", "56")):
        told = lab.ok(
            *("exec", "near", "--", "ping", "-M", "do", "-c", "1", "-W", "10", "-s", size, to)
        )
        assert " 0% packet loss" in told
    assert lab.ok("xenstore", "read", "/local/domain/1/backend/vif/2/1/mtu").strip() == "9000"
    assert lab.ok("xenstore", "read", "/local/domain/2/device/vif/1/mtu").strip() == "9000"


def test_a_frame_that_the_link_does_not_take_is_counted(lab: Commands) -> None:
    """The guest's MTU is larger than the backend's: each such frame is a drop with its reason."""
    optional.program("ip")
    optional.program("ping")
    lab.ok("exec", "near", "--", "ip", "link", "set", "eth0-p", "mtu", "4000")
    lab.ok("exec", "near", "--", "ip", "link", "set", "eth0", "mtu", "4000")
    ping = ("ping", "-M", "do", "-c", "2", "-i", "0.2", "-W", "1", "-s", "3000", "10.0.0.2")
    lab.run("exec", "near", "--", *ping)
    rows = {row["devid"]: row for row in lab.json("xl", "network-list", "near", "--statistics")}
    assert rows[0]["backend_half"]["rx_drop_longer_than_mtu"] == 2
    for name in ("eth0", "eth0-p"):
        lab.ok("exec", "near", "--", "ip", "link", "set", name, "mtu", "1500")


SEND = """
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
s.send(bytes.fromhex("ffffffffffff0200000000008100a00588b5") + b"by vlan".ljust(60))
"""
HEAR = """
import socket, struct
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.setsockopt(263, 8, 1)
s.bind(("eth0", 3))
print("listening", flush=True)
s.settimeout(20)
while True:
    data, told, _, _ = s.recvmsg(2000, 100)
    if b"by vlan" in data:
        print(hex(struct.unpack_from("=IIIHHHH", told[0][2])[5]))
        break
"""


def test_the_tag_of_a_vlan_survives_the_way(lab: Commands) -> None:
    """From a guest's stack over both rings and the bridge into another's."""
    if not Path("/usr/bin/python3").exists():
        pytest.skip("no /usr/bin/python3 on this machine")
    hearing = lab.start("exec", "far", "--", "/usr/bin/python3", "-c", HEAR)
    assert hearing.stdout is not None
    assert hearing.stdout.readline() == "listening\n"
    lab.ok("exec", "near", "--", "/usr/bin/python3", "-c", SEND)
    out, _ = hearing.communicate(timeout=30)
    assert out == "0xa005\n"


def test_a_download_comes_whole_in_large_frames(lab: Commands) -> None:
    """Red with set_offloads(tso4=False): then the packets are as many as the MTU makes of it."""
    optional.program("ip")
    size = 64 * MIB
    before = _received(lab)
    finish(download(lab, size), size, 60, lab)
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
        with downloading(lab, size, "--limit-rate", "6M") as process:
            kill_network(lab)
            kill_network(lab)
            both = process.poll() is None
            finish(process, size, 90, lab)
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
