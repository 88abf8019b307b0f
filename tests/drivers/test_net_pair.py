"""netfront and netback against each other on the real hypervisor, frames from end to end."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from hvsim.abi.netif import XEN_NETIF_GSO_TYPE_TCPV4
from hvsim.drivers.net.back import NetBack
from hvsim.drivers.net.front import NetFront
from hvsim.drivers.net.offload import (
    F_DATA_VALID,
    F_NEEDS_CSUM,
    GSO_TCPV4,
    PLAIN,
    VNET,
    Unfit,
    checksum_place,
    flow,
    ring_terms,
    vnet_header,
)
from hvsim.drivers.net.rate import Credit, parse
from tests.drivers.netrig import NetRig, Wire
from tests.support.hv import Hypervisor

ETHERNET = bytes.fromhex("00163e000002 00163e000001")


def tcp(payload: bytes, port: int = 80) -> bytes:
    """An Ethernet frame with IPv4 and TCP, its checksums blank."""
    ip = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, (40 + len(payload)) & 0xFFFF, 0, 0, 64, 6, 0,
        bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]),
    )  # fmt: skip
    head = struct.pack(">HHIIBBHHH", 40000, port, 0, 0, 0x50, 0x10, 1024, 0, 0)
    return ETHERNET + b"\x08\x00" + ip + head + payload


class Pair(NetRig):
    """A backend and a guest with one interface, connected.

    Attributes:
        nic: the guest's half; near: its port's far side (what the guest's stack would be).
        far: the backend's port's far side (what the bridge would be).
    """

    def __init__(self, hv: Hypervisor) -> None:
        super().__init__(hv)
        self.back = self.domain()
        NetBack.register(self.back, lambda info: self.wire(info.name))

    def up(self, *, packet: bool = False, keys: dict[str, Any] | None = None, **args: Any) -> None:
        """Make the guest and connect it."""
        self.guest = self.domain(**args)
        self.found = NetFront.register(
            self.guest, (lambda info: None) if packet else (lambda info: self.wire(info.name))
        )
        self.attach(self.back, self.guest, **(keys or {}))
        self.run(lambda: 0 in self.found and self.found[0].connected, "both halves Connected")
        self.nic = self.found[0]
        self.far = self.wire_of(self.guest)
        if not packet:
            self.near = next(wire for wire in self.wires if wire.name == "eth0")

    @property
    def driver(self) -> NetBack:
        """The backend's half."""
        driver = self.back.backends.drivers[f"backend/vif/{self.guest.domid}/0"]
        assert isinstance(driver, NetBack)
        return driver

    def crosses(self, source: Wire, sink: Wire, frame: bytes, vnet: bytes = PLAIN) -> bytes:
        """Send a frame through both rings; the virtio_net_hdr it comes out with."""
        assert source.send(frame, vnet)
        came: list[tuple[bytes, bytes]] = []

        def arrived() -> bool:
            came.extend(sink.receive())
            return bool(came)

        self.run(arrived, f"a frame of {len(frame)} bytes")
        [(header, data)] = came
        assert data == frame
        return header


@pytest.fixture
def pair(hv: Hypervisor) -> Iterator[Pair]:
    rig = Pair(hv)
    try:
        yield rig
    finally:
        rig.close()


@pytest.mark.parametrize("size", [14, 60, 1514, 4096, 4097, 9014, 65535])
def test_frames_of_any_size_cross_both_ways(pair: Pair, size: int) -> None:
    """65535 is the largest that a request can say.  One byte more is dropped, and counted."""
    pair.up()
    frame = ETHERNET + b"\x12\x34" + os.urandom(size - 14)
    assert pair.crosses(pair.near, pair.far, frame) == PLAIN
    assert pair.crosses(pair.far, pair.near, frame) == PLAIN
    if size == 65535:
        assert pair.near.send(frame + b"x")
        pair.run(lambda: pair.nic.statistics().get("tx_drop_too_long") == 1, "the drop")


def test_what_is_left_to_others_is_said_on_the_other_side(pair: Pair) -> None:
    """A blank checksum and a packet to be cut keep their virtio_net_hdr through the ring."""
    pair.up()
    blank = VNET.pack(F_NEEDS_CSUM, 0, 0, 0, 34, 16)
    cut = VNET.pack(F_NEEDS_CSUM, GSO_TCPV4, 54, 1448, 34, 16)
    for source, sink in ((pair.near, pair.far), (pair.far, pair.near)):
        assert pair.crosses(source, sink, tcp(b"x" * 100), blank) == blank
        assert pair.crosses(source, sink, tcp(os.urandom(60000)), cut) == cut
        valid = VNET.pack(F_DATA_VALID, 0, 0, 0, 0, 0)
        assert pair.crosses(source, sink, tcp(b"y"), valid) == valid


def test_thousands_of_frames_in_order(pair: Pair) -> None:
    """More than the rings hold, and around their end; nothing is lost while the sink keeps up."""
    pair.up()
    wanted = [ETHERNET + b"\x12\x34" + struct.pack(">I", n) * 20 for n in range(3000)]
    for source, sink in ((pair.near, pair.far), (pair.far, pair.near)):
        came: list[bytes] = []
        rest = list(wanted)
        while len(came) < len(wanted):
            while rest and source.send(rest[0]):
                rest.pop(0)
            pair.turn()
            came += sink.frames()
        assert came == wanted


def test_four_queues_spread_flows_and_keep_each_in_order(pair: Pair) -> None:
    """Each queue has rings and ports of its own, and sees some of the connections."""
    pair.up(vif={"queues": 4})
    assert len(pair.driver.queues) == 4
    keys = pair.guest.store.directory(f"{pair.front_path(pair.guest)}/queue-3")
    assert sorted(keys) == ["event-channel-rx", "event-channel-tx", "rx-ring-ref", "tx-ring-ref"]
    frames = [tcp(bytes([n]) * 64, port=1000 + n % 32) for n in range(256)]
    for source, sink in ((pair.near, pair.far), (pair.far, pair.near)):
        for frame in frames:
            assert source.send(frame)
        came: list[bytes] = []

        def all_there(sink: Wire = sink, came: list[bytes] = came) -> bool:
            came.extend(sink.frames())
            return len(came) == len(frames)

        pair.run(all_there, "every frame")
        for port in range(32):
            flow_of = [f for f in frames if f[36:38] == struct.pack(">H", 1000 + port)]
            assert [f for f in came if f[36:38] == struct.pack(">H", 1000 + port)] == flow_of
    assert all(queue.tx.statistics.packets for queue in pair.driver.queues)
    assert all(queue.rx.statistics.packets for queue in pair.driver.queues)


def test_the_packet_interface(pair: Pair) -> None:
    """A guest without a stack sends and receives frames itself."""
    pair.up(packet=True)
    frame = tcp(b"hello")
    queue = pair.nic.queues[0]
    assert queue.tx.send(frame, PLAIN)
    pair.nic.push(queue)
    pair.run(lambda: pair.far.frames() == [frame], "the frame outside")
    assert pair.far.send(frame[::-1])
    pair.run(lambda: pair.nic.received > 0, "the frame inside")
    assert pair.nic.receive() == frame[::-1]


def test_a_guest_that_reads_nothing_makes_nobody_grow(pair: Pair) -> None:
    """XSA-392: its link is full, its rings are full: what comes then is dropped where it waits."""
    pair.up(packet=True)
    pair.live.remove(pair.guest)  # it takes no turn any more
    sent = 0
    for _ in range(5000):
        sent += pair.far.send(tcp(bytes(1000)))
        pair.turn(0.0)
    assert sent < 3000, "somebody queues without end"
    assert pair.driver.queues[0].rx._waiting is not None
    pair.live.append(pair.guest)
    pair.run(lambda: pair.nic.received > 200, "frames when it reads again")


def test_what_a_vif_leaves_behind(pair: Pair) -> None:
    """Detached, nothing of it stays mapped, granted, bound or allocated."""
    before = (pair.back.mapper.live_pages, pair.back.events.ports())
    pair.up()
    pair.crosses(pair.near, pair.far, tcp(os.urandom(20000)))
    grants = pair.guest.grants.in_use
    assert grants == 2 + 512
    back = pair.back_path(pair.back, pair.guest)
    pair.write(f"{back}/online", "0")
    pair.write(f"{back}/state", "5")
    pair.run(lambda: pair.state(back) == "6", "the backend's Closed")
    assert pair.state(pair.front_path(pair.guest)) == "6"
    pair.run(lambda: pair.guest.grants.in_use == 0, "every grant taken back")
    assert (pair.back.mapper.live_pages, pair.back.events.ports()) == before
    assert pair.near.closed is False
    assert pair.far.closed


def test_a_new_backend_and_the_frames_go_on(pair: Pair) -> None:
    """The backend is killed and another takes its place: fresh rings, same interface."""
    pair.up()
    pair.crosses(pair.near, pair.far, tcp(b"before"))
    pair.kill(pair.back)
    pair.back = pair.domain()
    NetBack.register(pair.back, lambda info: pair.wire(info.name))
    pair.attach(pair.back, pair.guest)
    pair.run(lambda: pair.state(pair.back_path(pair.back, pair.guest)) == "4", "Connected again")
    pair.run(lambda: pair.nic.connected, "the frontend up again")
    pair.far = pair.wire_of(pair.guest)
    pair.crosses(pair.near, pair.far, tcp(b"after"))
    pair.crosses(pair.far, pair.near, tcp(b"after"))
    pair.run(lambda: pair.guest.grants.in_use == 514, "the grants of the old backend taken back")


@pytest.mark.parametrize("dance", [("5", "6", "1"), ("6", "1"), ("1",)])
def test_a_frontend_that_closes_before_it_connects(pair: Pair, dance: tuple[str, ...]) -> None:
    """Windows goes through Closing and Closed first, Mini-OS starts from Closed: the backend
    answers each step, and is in InitWait again when the frontend begins.

    Red when Initialising finds a Closed backend and nothing is done (``NetBack`` REOPEN)."""
    pair.guest = pair.domain()
    pair.attach(pair.back, pair.guest)
    back, front = pair.back_path(pair.back, pair.guest), pair.front_path(pair.guest)
    pair.run(lambda: pair.state(back) == "2", "InitWait")
    answers = {"5": "5", "6": "6", "1": "2"}
    client = pair.store.connect(pair.guest.domid, "windows")
    for state in dance:
        client.write(f"{front}/state", state)
        pair.run(lambda state=state: pair.state(back) == answers[state], f"the answer to {state}")  # type: ignore[misc]
    found = NetFront.register(pair.guest, lambda info: pair.wire(info.name))
    pair.run(lambda: 0 in found and found[0].connected, "Connected after all")


def test_a_backend_that_begins_anew_wedges_no_frontend(pair: Pair) -> None:
    """It is bound anew under a living frontend and waits in InitWait (recording 71)."""
    pair.up()
    old = pair.driver
    bus = pair.back.backends
    device = old._the_device
    bus.remove_device(device)
    back = pair.back_path(pair.back, pair.guest)
    pair.write(f"{back}/state", "1")
    pair.run(lambda: pair.state(back) == "4" and pair.nic.connected, "Connected again")
    assert pair.driver is not old
    pair.far = pair.wire_of(pair.guest)
    pair.crosses(pair.near, pair.far, tcp(b"again"))


def test_a_rate_is_kept(pair: Pair) -> None:
    """One frame of 1000 bytes in each interval of 50 ms: ten of them are not there at once."""
    pair.up(keys={"rate": "1000,50000"})
    for _ in range(10):
        assert pair.near.send(tcp(bytes(946)))
    pair.rest(40)
    assert 1 <= len(pair.far.frames()) < 10


class TestCredit:
    """The arithmetic, with a clock of the test's."""

    def test_an_interval_pays_for_what_the_one_before_overdrew(self) -> None:
        credit = Credit((1000, 1_000_000))
        assert credit.allowed(10.0)
        credit.spend(1500)
        assert not credit.allowed(10.5)
        assert credit.wait(10.5) == 0.5
        assert credit.allowed(11.0)
        credit.spend(400)
        assert credit.allowed(11.1)

    def test_nothing_is_saved_up(self) -> None:
        credit = Credit((1000, 1_000_000))
        assert credit.allowed(100.0)
        credit.spend(1000)
        assert not credit.allowed(100.1)

    @pytest.mark.parametrize(
        "text", [None, "", "5", "5,", ",5", "0,5", "5,0", "-1,5", "x,y", "1" * 40]
    )
    def test_what_is_no_rate_is_no_limit(self, text: str | None) -> None:
        assert not Credit(parse(text)).limited


class TestOffload:
    """Headers, without a ring."""

    def test_gso_of_ipv6_behind_extension_headers(self) -> None:
        ip = struct.pack(">IHBB", 6 << 28, 0, 0, 64) + bytes(32)
        hop = bytes([6, 0]) + bytes(6)
        head = ETHERNET + b"\x86\xdd" + ip + hop + bytes(12) + b"\x50" + bytes(40)
        assert checksum_place(head) == (62, 16)

    @pytest.mark.parametrize(
        ("head", "why"),
        [
            (ETHERNET + b"\x08\x06" + bytes(60), "not_ip"),
            (ETHERNET + b"\x08\x00" + b"\x45" + bytes(8), "short_header"),
            (ETHERNET + b"\x08\x00" + b"\x41" + bytes(60), "bad_header"),
            (tcp(b"")[:23] + b"\x01" + tcp(b"")[24:], "no_checksum"),
        ],
    )
    def test_a_blank_checksum_that_has_no_place(self, head: bytes, why: str) -> None:
        with pytest.raises(Unfit, match=why):
            vnet_header(head, blank=True, validated=False, gso=None)

    @pytest.mark.parametrize("gso", [(XEN_NETIF_GSO_TYPE_TCPV4, 0), (2, 1448), (3, 1448)])
    def test_gso_that_does_not_fit(self, gso: tuple[int, int]) -> None:
        with pytest.raises(Unfit, match="gso"):
            vnet_header(tcp(bytes(100)), blank=True, validated=False, gso=gso)

    def test_segmentation_that_a_ring_cannot_say(self) -> None:
        with pytest.raises(Unfit):
            ring_terms(VNET.pack(1, 3, 42, 1448, 34, 6))

    def test_one_connection_is_one_flow(self) -> None:
        assert flow(tcp(b"a")) == flow(tcp(b"bcd"))
        assert len({flow(tcp(b"", port)) % 4 for port in range(64)}) == 4
