"""A real TCP conversation over the rings, captured on either side, and read by tshark.

Red, each tried: without the filling of open checksums (tshark calls them bad); with a tap that says
another direction than the frame has.
"""

import json
import signal
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.net.tcplab import download, finish, kill_network, tcp_lab
from tests.support import optional
from tests.support.labs import Commands, commands
from tests.support.waits import wait

pytestmark = pytest.mark.interop
SIZE = 200_000


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    optional.program("tshark")
    optional.program("curl")
    with commands() as made, tcp_lab(tmp_path_factory.mktemp("tcp"), made):
        yield made


def tshark(file: Path, *words: str) -> str:
    command = [optional.program("tshark"), "-r", str(file), "-o", "tcp.check_checksum:TRUE", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def start(lab: Commands, file: Path, *words: str) -> "subprocess.Popen[str]":
    capture = lab.start("capture", "near", "-w", str(file), *words)
    assert capture.stdout is not None
    said = capture.stdout.readline()
    assert "Ctrl-C ends it" in said, said
    return capture


@pytest.mark.parametrize("side", ["back", "front"])
def test_tshark_sees_the_conversation(lab: Commands, tmp_path: Path, side: str) -> None:
    file = tmp_path / "c.pcapng"
    capture = start(lab, file, "--side", side)
    finish(download(lab, SIZE), SIZE, 60, lab)
    capture.send_signal(signal.SIGINT)
    said, _ = capture.communicate(timeout=60)
    assert capture.returncode == 0
    assert " 0 dropped" in said, said
    assert tshark(file, "-Y", "_ws.malformed") == ""
    fields = ("tcp.srcport", "tcp.len", "tcp.checksum.status", "frame.comment",
              "frame.packet_flags_direction")  # fmt: skip
    words = [word for field in fields for word in ("-e", field)]
    layers = [
        one["_source"]["layers"]
        for one in json.loads(tshark(file, "-Y", "tcp", "-T", "json", *words))
    ]
    assert {one["tcp.checksum.status"][0] for one in layers} == {"1"}, "1 is good"
    assert sum(int(one["tcp.len"][0]) for one in layers) >= SIZE
    gso = [one for one in layers if "GSO TCPv4" in str(one.get("frame.comment"))]
    assert gso, "no large segment was marked"
    assert all(int(one["tcp.len"][0]) > 1448 for one in gso)
    # What the guest asked for and what it got go opposite ways, and each half sees it its own way.
    ways = {(int(one["tcp.len"][0]) > 1000, one["frame.packet_flags_direction"][0])
            for one in layers if int(one["tcp.len"][0])}  # fmt: skip
    data, asked = ("0x00000002", "0x00000001") if side == "back" else ("0x00000001", "0x00000002")
    assert (True, data) in ways
    assert (False, asked) in ways
    assert (True, asked) not in ways
    follow = tshark(file, "-q", "-z", "conv,tcp")
    assert "10.0.0.1" in follow


def test_both_halves_count_what_passed(lab: Commands) -> None:
    """`xl network-list`; red when a half is not asked, or a stalled one is waited for."""
    finish(download(lab, SIZE), SIZE, 60, lab)
    [row] = lab.json("xl", "network-list", "near")
    assert row["backend_half"]["tx_bytes"] >= SIZE
    assert row["frontend"]["rx_bytes"] >= SIZE
    lab.ok("fault", "stall", "network")
    try:
        text = lab.ok("xl", "network-list", "near", "--statistics")
    finally:
        lab.ok("fault", "resume", "network")
    assert "backend:  does not answer" in text
    assert "frontend: rx_packets=" in text


def interfaces(file: Path) -> int:
    """Interface description blocks of a file that is still written (pcapng, section 4.2)."""
    data, at, found = file.read_bytes(), 0, 0
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<II", data, at)
        found += kind == 1
        at += length
    return found


def test_it_goes_on_with_the_next_network_domain(lab: Commands, tmp_path: Path) -> None:
    """One interface of the file for each domain that served the vif."""
    file = tmp_path / "c.pcapng"
    capture = start(lab, file, "-s", "100")
    process = download(lab, 12 << 20, "--limit-rate", "4M")
    kill_network(lab)
    finish(process, 12 << 20, 90, lab)
    wait(lambda: interfaces(file) == 2, "the capture at the next network domain")
    finish(download(lab, SIZE), SIZE, 60, lab)
    capture.send_signal(signal.SIGINT)
    capture.communicate(timeout=60)
    assert capture.returncode == 0
    assert tshark(file, "-Y", "frame.interface_id == 0", "-c", "1000000") != ""
    assert tshark(file, "-Y", "frame.interface_id == 1") != ""
