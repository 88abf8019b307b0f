"""A switch of the backend's own: guests without a network stack hear each other through it.

Seen red: a bridge that learns nothing (the third hears the second), one table for all bridges,
addresses that are kept when the carrier goes, ports without a bound, frames of any length, frames
that come from a group or from nobody, BPDUs that are lost.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hvsim.drivers.net.back import NetBack
from hvsim.drivers.net.frames import own_frames
from hvsim.drivers.net.front import NetFront
from hvsim.drivers.net.interface import Interface
from hvsim.drivers.net.link import QUEUE
from hvsim.drivers.net.offload import F_NEEDS_CSUM, GSO_TCPV4, PLAIN, VNET
from hvsim.drivers.net.protocol import VifInfo
from hvsim.drivers.net.switch import ADDRESSES, AGEING, Port, Switch
from hvsim.names import mac
from tests.drivers.netrig import NetRig, mac_of
from tests.support.hv import Hypervisor

ALL = b"\xff" * 6
KIND = b"\x88\xb5"
VLAN_LONGEST = 1500 + 14 + 4


class Vcpu:
    """Time and turns, by hand."""

    def __init__(self) -> None:
        self.time = 0.0
        self.calls: list[object] = []

    def now(self) -> float:
        return self.time

    def call_later(self, _delay: float, fn: object) -> None:
        self.calls.append(fn)


def address(number: int) -> bytes:
    return b"\x00\x16\x3e" + number.to_bytes(3, "big")


def frame(to: bytes, sender: bytes, size: int = 60) -> bytes:
    return (to + sender + KIND).ljust(size, b"\0")


class Ports:
    """A switch without guests: what each port has for its own."""

    def __init__(self, *bridges: str) -> None:
        self.vcpu = Vcpu()
        self.switch = Switch(self.vcpu)  # type: ignore[arg-type]
        self.ports = [self.port(index, bridge) for index, bridge in enumerate(bridges)]

    def port(self, index: int, bridge: str = "") -> Port:
        made = self.switch.make_link(VifInfo(index + 1, 0, f"vif{index + 1}.0", "", 0, bridge))
        made.set_carrier(True)
        return made

    def send(self, source: int, data: bytes, vnet: bytes = PLAIN) -> list[int]:
        """Which ports have it then."""
        self.ports[source].writev(0, [vnet, memoryview(data)])
        heard = []
        for index, port in enumerate(self.ports):
            while (found := port.read()) is not None:
                assert found == (vnet, data)
                heard.append(index)
        return heard


@pytest.fixture
def three() -> Ports:
    return Ports("", "", "")


def test_who_is_known_is_told_alone_and_who_is_not_is_looked_for(three: Ports) -> None:
    one, two = address(1), address(2)
    assert three.send(0, frame(two, one)) == [1, 2]
    assert three.send(1, frame(one, two)) == [0]
    assert three.send(0, frame(two, one)) == [1]
    assert three.send(0, frame(one, one)) == [], "it is where it comes from"
    assert three.send(0, frame(ALL, one)) == [1, 2]
    assert three.send(2, frame(one, two)) == [0], "it has moved"
    assert three.send(0, frame(two, one)) == [2]


def test_what_no_bridge_passes_on(three: Ports) -> None:
    for last in range(1, 16):
        assert three.send(0, frame(bytes.fromhex("0180c20000") + bytes([last]), address(1))) == []
    assert three.send(0, frame(bytes.fromhex("0180c2000010"), address(1))) == [1, 2]
    assert three.send(0, b"short") == []


def test_a_bpdu_finds_loops_behind_a_bridge_without_stp(three: Ports) -> None:
    assert three.send(0, frame(bytes.fromhex("0180c2000000"), address(1))) == [1, 2]


@pytest.mark.parametrize("sender", [ALL, bytes.fromhex("01005e000001"), bytes(6)])
def test_what_comes_from_a_group_or_from_nobody_is_lost(three: Ports, sender: bytes) -> None:
    assert three.send(1, frame(address(1), sender)) == []
    assert three.send(0, frame(ALL, address(1))) == [1, 2]


def test_bridges_do_not_hear_each_other() -> None:
    two = Ports("one", "two", "one")
    assert two.send(0, frame(ALL, address(1))) == [2]
    assert two.send(1, frame(address(1), address(2))) == []


def test_who_is_silent_or_gone_is_forgotten(three: Ports) -> None:
    three.send(1, frame(ALL, address(2)))
    three.vcpu.time = AGEING - 1
    assert three.send(0, frame(address(2), address(1))) == [1]
    three.vcpu.time = AGEING
    assert three.send(0, frame(address(2), address(1))) == [1, 2]
    three.send(1, frame(ALL, address(2)))
    three.ports[1].set_carrier(False)
    assert three.send(0, frame(address(2), address(1))) == [2]
    with pytest.raises(OSError, match="is down"):
        three.send(1, frame(ALL, address(2)))


def test_whoever_makes_up_addresses_makes_nobody_grow(three: Ports) -> None:
    for number in range(ADDRESSES + 1):
        three.send(0, frame(ALL, address(number)))
    assert three.send(1, frame(address(0), address(1 << 20))) == [0, 2], "who was silent longest"
    assert three.send(1, frame(address(ADDRESSES), address(1 << 20))) == [0]


def test_who_does_not_listen_loses_what_is_too_much(three: Ports) -> None:
    quiet = three.ports[2]
    for _ in range(QUEUE + 5):
        three.ports[0].writev(0, [PLAIN, frame(ALL, address(1))])
    assert quiet.lost == 5
    quiet.set_carrier(False)
    assert quiet.read() is None
    three.ports[0].writev(0, [PLAIN, frame(ALL, address(1))])
    assert (quiet.read(), quiet.lost) == (None, 6)
    quiet.close()
    quiet.close()
    assert quiet.fd < 0
    three.ports[0].writev(0, [PLAIN, frame(ALL, address(1))])
    assert quiet.lost == 6, "it is no port any more"


def test_nobody_gets_what_he_does_not_take(three: Ports) -> None:
    assert three.send(0, frame(ALL, address(1), VLAN_LONGEST)) == [1, 2]
    assert three.send(0, frame(ALL, address(1), VLAN_LONGEST + 1)) == []
    blank = VNET.pack(F_NEEDS_CSUM, 0, 0, 0, 34, 16)
    cut = VNET.pack(F_NEEDS_CSUM, GSO_TCPV4, 54, 1448, 34, 16)
    long = frame(ALL, address(1), 9000)
    assert three.send(0, frame(ALL, address(1)), blank) == [1, 2]
    assert three.send(0, long, cut) == [1, 2]
    three.ports[1].set_offloads(checksum=True, tso4=False, tso6=True)
    three.ports[2].set_offloads(checksum=False, tso4=True, tso6=True)
    assert three.send(0, frame(ALL, address(1)), blank) == [1]
    assert three.send(0, long, cut) == []


def test_what_args_say() -> None:
    assert own_frames({"frames": "own"})
    assert not own_frames({})
    assert not own_frames({"frames": "linux"})


class Guests(NetRig):
    """Some on one switch, without a network stack."""

    def __init__(self, hv: Hypervisor, count: int) -> None:
        super().__init__(hv)
        self.back = self.domain()
        NetBack.register(self.back, Switch(self.back.vcpu).make_link)
        self.nics = [self._guest() for _ in range(count)]

    def _guest(self) -> tuple[bytes, Interface]:
        guest = self.domain()
        found = NetFront.register(guest)
        self.attach(self.back, guest)
        self.run(lambda: 0 in found and found[0].connected, "both halves Connected")
        return mac.bytes_of(mac_of(guest)), found[0]


@pytest.fixture
def guests(hv: Hypervisor) -> Iterator[Guests]:
    rig = Guests(hv, 3)
    try:
        yield rig
    finally:
        rig.close()


def test_guests_hear_each_other(guests: Guests) -> None:
    (first, left), (second, right), (_, third) = guests.nics
    left.send(frame(ALL, first))
    guests.run(lambda: right.received > 0 and third.received > 0, "the frame for all")
    assert right.receive() == third.receive() == frame(ALL, first)
    right.send(frame(first, second, 1514))
    guests.run(lambda: left.received > 0, "the answer")
    assert left.receive() == frame(first, second, 1514)
    assert third.received == 0
    for number in range(300):  # more than the rings hold, and more than a turn
        left.send(frame(second, first, 60 + number % 1000))
        guests.turn(0.0)
    guests.run(lambda: right.received == 300, "all of them")
    assert [len(right.receive()) for _ in range(300)] == [60 + n % 1000 for n in range(300)]
