"""The capture file: read back by a strict reader, and by Wireshark's own.

The tests with tshark were seen red with a length that left the options out, and with upper and
lower half of the timestamp in the file's byte order (one 64-bit word).
"""

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvsim.drivers.net.offload import ones_sum
from hvsim.observe import pcapng
from hvsim.observe.offload import Offload
from tests.observe.blocks import blocks
from tests.observe.frames import ACK, FIN, PSH, SYN, TCP_CHECKSUM, TCP_START, partial, tcp
from tests.support import optional

NOW = 1_700_000_000_123_456_789


def test_every_block_reads_back() -> None:
    file = (
        pcapng.section("hvsim 1", "Linux 6")
        + pcapng.interface("vif3.0", "the back half", snaplen=96, mac=bytes(range(6)))
        + pcapng.packet(0, NOW, b"abcde", 77, flags=513, comment="GSO", dropped=3, queue=2)
        + pcapng.statistics(0, started_ns=NOW, ended_ns=NOW + 5, seen=9, dropped=8)
    )
    head, interface, packet, counts = blocks(file)
    assert struct.unpack("<IHHq", head.body) == (0x1A2B3C4D, 1, 0, -1)
    assert (head.option(3), head.option(4)) == (b"Linux 6", b"hvsim 1")
    assert struct.unpack("<HHI", interface.body) == (1, 0, 96)
    assert (interface.option(2), interface.option(3)) == (b"vif3.0", b"the back half")
    assert (interface.option(6), interface.option(9)) == (bytes(range(6)), b"\x09")
    assert (packet.time_ns, packet.data, packet.length, packet.flags) == (NOW, b"abcde", 77, 513)
    assert packet.option(1) == b"GSO"
    assert (packet.option(4), packet.option(6)) == (struct.pack("<Q", 3), struct.pack("<I", 2))
    assert counts.time_ns == NOW + 5
    assert (counts.option(4), counts.option(5)) == (struct.pack("<Q", 9), struct.pack("<Q", 8))


@given(data=st.binary(max_size=200), comment=st.text(max_size=40), more=st.integers(0, 100))
def test_a_packet_of_any_length_reads_back(data: bytes, comment: str, more: int) -> None:
    file = pcapng.section("", "") + pcapng.packet(
        0, NOW, data, len(data) + more, flags=0, comment=comment
    )
    packet = blocks(file)[1]
    assert (packet.data, packet.length) == (data, len(data) + more)


def test_an_option_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="65535"):
        pcapng.option(1, bytes(1 << 16))


# -- checksums ----------------------------------------------------------------------------------


def naive(data: bytes) -> int:
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(st.binary(max_size=300))
def test_the_sum_is_that_of_the_standard(data: bytes) -> None:
    assert ones_sum(data) == naive(data)


@given(st.binary(max_size=300))
def test_an_open_checksum_is_filled_as_the_sender_would_have(payload: bytes) -> None:
    open_, whole = tcp(PSH, 1, 1, payload, whole=False), tcp(PSH, 1, 1, payload)
    assert Offload.of(partial()).filled(open_, len(open_)) == whole
    assert Offload.of(bytes(10)).filled(open_, len(open_)) == open_, "nothing was asked"


def test_a_frame_that_was_cut_is_left_alone() -> None:
    frame = tcp(PSH, 1, 1, b"x" * 100, whole=False)
    assert Offload.of(partial()).filled(frame[:90], len(frame)) == frame[:90]


@given(st.binary(min_size=10, max_size=10), st.binary(max_size=120))
def test_no_header_of_a_guest_is_too_much(vnet: bytes, frame: bytes) -> None:
    """A hostile header costs its own packet's checksum, nothing else."""
    offload = Offload.of(vnet)
    assert len(offload.filled(frame, len(frame))) == len(frame)
    offload.comment(frame, len(frame))
    assert not offload.packet_flags & ~0xE00


def test_udp_zero_is_written_as_all_ones() -> None:
    offload = Offload.of(struct.pack("<BBHHHH", 1, 0, 0, 0, 0, 6))
    frame = bytes(6) + b"\0\0" + b"\xff\xff"
    assert offload.filled(frame, len(frame))[6:8] == b"\xff\xff"


def test_gso_is_told() -> None:
    frame = tcp(PSH, 1, 1, bytes(14480), whole=False)
    offload = Offload.of(partial(1, 1448))
    assert offload.comment(frame, len(frame)) == "GSO TCPv4: 10 segments of 1448 bytes"
    assert offload.packet_flags == 1 << 9 | 1 << 11
    assert Offload.of(bytes(10)).comment(frame, len(frame)) == ""


# -- Wireshark ----------------------------------------------------------------------------------


def tshark(file: Path, *words: str) -> str:
    command = [optional.program("tshark"), "-r", str(file), "-o", "tcp.check_checksum:TRUE", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def packets(file: Path, *fields: str) -> list[dict[str, Any]]:
    words = [word for field in fields for word in ("-e", field)]
    found = json.loads(tshark(file, "-T", "json", *words))
    return [packet["_source"]["layers"] for packet in found]


@pytest.fixture
def conversation(tmp_path: Path) -> Path:
    """A TCP conversation whose data goes as one large segment with an open checksum."""
    file = tmp_path / "c.pcapng"
    frames = [
        (tcp(SYN, 100, 0), bytes(10)),
        (tcp(SYN | ACK, 500, 101, back=True), bytes(10)),
        (tcp(ACK, 101, 501), bytes(10)),
        (tcp(PSH | ACK, 101, 501, bytes(2896), whole=False), partial(1, 1448)),
        (tcp(ACK, 501, 2997, back=True), bytes(10)),
        (tcp(FIN | ACK, 2997, 501, whole=False), partial()),
    ]
    out = pcapng.section("hvsim", "Linux") + pcapng.interface("vif1.0", "test", snaplen=262144)
    for number, (frame, vnet) in enumerate(frames):
        offload = Offload.of(vnet)
        out += pcapng.packet(
            0,
            NOW + number * 1000,
            offload.filled(frame, len(frame)),
            len(frame),
            flags=offload.packet_flags | pcapng.FLAG_INBOUND,
            comment=offload.comment(frame, len(frame)),
        )
    out += pcapng.statistics(0, started_ns=NOW, ended_ns=NOW + 9000, seen=7, dropped=1)
    file.write_bytes(out)
    return file


@pytest.mark.interop
def test_wireshark_sees_the_conversation(conversation: Path) -> None:
    rows = packets(conversation, "frame.time_epoch", "frame.interface_name", "tcp.len",
                   "frame.comment", "tcp.checksum.status")  # fmt: skip
    assert [row["tcp.len"] for row in rows] == [["0"], ["0"], ["0"], ["2896"], ["0"], ["0"]]
    assert {row["frame.interface_name"][0] for row in rows} == {"vif1.0"}
    assert [row["frame.time_epoch"][0][-9:] for row in rows] == [
        str(123456789 + number * 1000) for number in range(6)
    ]
    assert rows[3]["frame.comment"] == ["GSO TCPv4: 2 segments of 1448 bytes"]
    assert {row["tcp.checksum.status"][0] for row in rows} == {"1"}, "1 is good"
    assert tshark(conversation, "-Y", "_ws.malformed || _ws.expert.severity >= 0x600000") == ""


@pytest.mark.interop
def test_wireshark_would_see_an_open_checksum(conversation: Path) -> None:
    """The negative control: without the filling, the same reader complains."""
    whole = conversation.read_bytes()
    checksum = tcp(FIN | ACK, 2997, 501)[TCP_START + TCP_CHECKSUM :][:2]
    at = whole.rindex(checksum)
    conversation.write_bytes(whole[:at] + b"\x12\x34" + whole[at + 2 :])
    assert "FIN" in tshark(conversation, "-Y", "tcp.checksum.status == 0")
