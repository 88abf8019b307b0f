"""Each fault of the network, fired by a rule, and seen by the guest or at the end of its wire.

Seen red: with `Stage.put` that lets everything pass, every test of a word; with `Bad.ways` that
does not look at who has sent a frame, the partition; with a faulty link that steps aside at once,
or drops what a rule held, those of rules that go; with one that leaves the carrier, links down;
with a netback that does not follow the seam, nearly all.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import pytest

from hvsim.drivers.net.offload import F_NEEDS_CSUM, GSO_TCPV4, PLAIN, VNET
from tests.drivers.test_net_pair import tcp
from tests.faults.wires import Net, a_net, made, number_of
from tests.support.hv import Hypervisor

BRIDGE = bytes.fromhex("021639000001")


@pytest.fixture
def net(hv: Hypervisor) -> Iterator[Net]:
    with a_net(hv) as found:
        yield found


@pytest.fixture
def three(hv: Hypervisor) -> Iterator[Net]:
    with a_net(hv, "abc") as found:
        yield found


def out(net: Net, first: int, count: int) -> list[int]:
    """Numbers of what comes out of the wire when the guest sends frames with those numbers."""
    for number in range(first, first + count):
        net.guests[0].send(BRIDGE, number)
    net.rest()
    return [number_of(frame) for frame in net.guests[0].wire.frames()]


def into(net: Net, first: int, count: int, wait: int | None = None) -> list[int]:
    """Numbers of what the guest gets when those are put into its wire."""
    guest = net.guests[0]
    for number in range(first, first + count):
        assert guest.wire.send(made(guest.mac, BRIDGE, number))
    if wait is not None:
        return net.until(guest, wait)
    net.rest()
    guest.take()
    found, guest.got = guest.got, []
    return found


def test_frames_are_lost_one_way_or_both_and_none_when_the_rule_has_gone(net: Net) -> None:
    assert (out(net, 0, 3), into(net, 0, 3)) == ([0, 1, 2], [0, 1, 2])
    number = net.add("a/eth0", "drop=100%", "direction=out")
    assert (out(net, 3, 3), into(net, 3, 3)) == ([], [3, 4, 5])
    name = net.guests[0].wire.name
    assert net.breaker.fired(number) == [f"{name}, from the guest: 60 bytes: lost"] * 3
    net.remove(number)
    assert (out(net, 6, 3), into(net, 6, 3)) == ([6, 7, 8], [6, 7, 8])
    number = net.add("a/eth0", "drop=100%")
    assert (out(net, 9, 3), into(net, 9, 3)) == ([], [])
    assert len(net.breaker.fired(number)) == 6


def test_a_share_is_lost_and_times_counts_the_lost(net: Net) -> None:
    number = net.add("a/eth0", "drop=50%", "direction=in", "times=4")
    assert len(into(net, 0, 40)) == 36
    [standing] = net.breaker.standing()
    assert (standing.rule.number, standing.rule.fired) == (number, 4)


def test_which_frames_are_hit_is_said_as_of_every_rule(net: Net) -> None:
    net.add("a/eth0", "drop=1", "direction=in", "after=2", "every=3", "times=2")
    assert into(net, 0, 10) == [0, 1, 3, 4, 6, 7, 8, 9]


def test_a_delay_and_its_jitter(net: Net) -> None:
    net.add("a/eth0", "delay=60ms..90ms")
    now = net.back.vcpu.now
    began = now()
    assert out(net, 0, 1) == []
    assert into(net, 0, 5, wait=5) == [0, 1, 2, 3, 4]
    assert now() - began >= 0.06
    net.run(lambda: bool(net.guests[0].wire.frames()), "the frame from the guest")


def test_twice(net: Net) -> None:
    net.add("a/eth0", "duplicate=1", "times=2")
    assert out(net, 0, 1) == [0, 0]
    assert into(net, 0, 2) == [0, 0, 1]


def test_overtaken_by_the_next(net: Net) -> None:
    net.add("a/eth0", "reorder=100%", "direction=out", "nth=2")
    assert out(net, 0, 4) == [0, 2, 1, 3]


def test_one_that_nobody_overtakes_is_not_lost(net: Net) -> None:
    net.add("a/eth0", "reorder=100%", "direction=in", "nth=1")
    assert into(net, 7, 1) == []
    assert net.until(net.guests[0], 1) == [7]


def test_a_bit_is_turned_over(net: Net) -> None:
    guest = net.guests[0]
    net.add("a/eth0", "corrupt=1")
    frame = made(guest.mac, BRIDGE, 0) + os.urandom(1000)
    assert guest.wire.send(frame)
    net.until(guest, 1)
    differs = [one ^ other for one, other in zip(frame, guest.raw[0], strict=True)]
    assert sum(one.bit_count() for one in differs) == 1
    assert differs[:14] == [0] * 14, "the addresses are whole"


@pytest.mark.parametrize(
    ("vnet", "size", "after"),
    [
        (VNET.pack(F_NEEDS_CSUM, 0, 0, 0, 34, 16), 500, PLAIN),
        (VNET.pack(F_NEEDS_CSUM, GSO_TCPV4, 54, 1448, 34, 16), 60000, None),
    ],
    ids=["checksum", "segmentation"],
)
def test_offloads_hide_nothing(net: Net, vnet: bytes, size: int, after: bytes | None) -> None:
    """What comes out has another byte, and no header that says that its checksum is to be made
    from it, or was looked at; but where it is yet to be cut."""
    guest = net.guests[0]
    net.add("a/eth0", "corrupt=1")
    whole = tcp(os.urandom(size))
    guest.nic.send(whole, vnet)
    net.rest()
    [(header, frame)] = guest.wire.receive()
    assert header == (vnet if after is None else after)
    changed = [a ^ b for a, b in zip(frame[54:], whole[54:], strict=True)]
    assert sum(one.bit_count() for one in changed) == 1


def test_a_rate_holds_frames_up_and_loses_what_waits_too_long(net: Net) -> None:
    guest, size = net.guests[0], 1000
    net.add("a/eth0", "rate=800kbit", "direction=in")  # 100 frames a second
    began = net.back.vcpu.now()
    for number in range(40):
        assert guest.wire.send(made(guest.mac, BRIDGE, number, size))
    got = net.until(guest, 40)
    assert got == list(range(40))
    assert net.back.vcpu.now() - began >= 0.3
    more = 400
    for number in range(more):
        guest.wire.send(made(guest.mac, BRIDGE, number, size))
        net.rest(1)
    [standing] = net.breaker.standing()
    assert standing.last.endswith(("late", "lost, too many wait for the rate"))


def test_a_link_that_is_down_has_no_carrier_and_says_so(net: Net) -> None:
    guest = net.guests[0]
    key = f"{net.back_path(net.back, guest.domain)}/link"
    number = net.add("a/eth0", "link=down")
    assert (guest.wire.up, net.store.get(key)) == (False, "down")
    assert (out(net, 0, 3), into(net, 0, 3)) == ([], [])
    assert net.breaker.fired(number)[0] == f"{guest.wire.name}: down"
    net.remove(number)
    assert (guest.wire.up, net.store.get(key)) == (True, None)
    assert (out(net, 3, 3), into(net, 3, 3)) == ([3, 4, 5], [3, 4, 5])


def test_a_link_that_is_down_is_down_for_the_next_connection(net: Net) -> None:
    guest = net.guests[0]
    number = net.add("a/eth0", "link=down")
    old, bus = guest.wire, net.back.backends
    back = net.back_path(net.back, guest.domain)
    bus.remove_device(bus.devices[f"backend/vif/{guest.domain.domid}/0"])
    net.write(f"{back}/state", "1")
    net.run(lambda: net.state(back) == "4" and guest.nic.connected, "Connected again")
    net.run(lambda: net.store.get(f"{back}/link") == "down", "down again")
    guest.wire = net.wire_of(guest.domain)
    assert guest.wire is not old
    assert (guest.wire.up, out(net, 0, 1)) == (False, [])
    net.remove(number)
    assert (guest.wire.up, out(net, 1, 1)) == (True, [1])


def test_a_link_that_hears_of_no_carrier_costs_nobody_his_domain(net: Net) -> None:
    """It has gone under its netback.  Red when a rule that comes lets the error out."""
    guest = net.guests[0]

    def gone(on: bool) -> None:
        raise OSError(errno.ENODEV, "no such link")

    number = net.add("a/eth0", "drop=1", "after=1000")
    guest.wire.set_carrier = gone  # type: ignore[method-assign]
    down = net.add("a/eth0", "link=down")
    assert out(net, 0, 3) == []
    net.remove(down)
    assert out(net, 3, 3) == [3, 4, 5]
    net.remove(number)
    net.run(lambda: net.state(net.back_path(net.back, guest.domain)) == "5", "the device alone")
    assert net.errors(net.back)


def test_a_whole_driver_domain(three: Net) -> None:
    three.add("back", "drop=1", "direction=in")
    a, b, c = three.guests
    a.send(b.mac, 0)
    c.send(a.mac, 1)
    three.switch()
    assert (a.got, b.got, c.got) == ([], [], [])


def test_a_guest_by_its_name_and_one_way_of_who_serves_it(three: Net) -> None:
    a, b, _ = three.guests
    number = three.add("a", "drop=1")
    a.send(b.mac, 0)
    b.send(a.mac, 1)
    three.switch()
    assert (a.got, b.got) == ([], [])
    three.remove(number)
    three.add("back -> a", "drop=1")
    a.send(b.mac, 2)
    b.send(a.mac, 3)
    three.switch()
    assert (a.got, b.got) == ([], [2])


def chatter(net: Net, number: int) -> dict[str, list[int]]:
    """Everybody sends to everybody, and to all at once: who gets what.  100 from a, 200 from b."""
    for place, guest in enumerate(net.guests, 1):
        for other in net.guests:
            if other is not guest:
                guest.send(other.mac, 100 * place + number)
        guest.send(b"\xff" * 6, 100 * place + number + 1)
    net.switch(12)
    found = {}
    for guest in net.guests:
        mine = [number_of(frame) for frame in guest.raw if frame[:6] in (guest.mac, b"\xff" * 6)]
        found[guest.name] = sorted(mine)
        guest.raw, guest.got = [], []
    return found


def test_a_partition_is_between_two_and_the_others_go_on(three: Net) -> None:
    assert chatter(three, 0) == {
        "a": [200, 201, 300, 301],
        "b": [100, 101, 300, 301],
        "c": [100, 101, 200, 201],
    }
    number = three.add("a <-> b", "partition=yes")
    assert chatter(three, 10) == {
        "a": [310, 311],
        "b": [310, 311],
        "c": [110, 111, 210, 211],
    }
    three.remove(number)
    three.add("a -> b", "partition=yes")
    assert chatter(three, 20) == {
        "a": [220, 221, 320, 321],
        "b": [320, 321],
        "c": [120, 121, 220, 221],
    }


def test_rules_compose_and_go_one_by_one(net: Net) -> None:
    first = net.add("a/eth0", "duplicate=1", "direction=out")
    second = net.add("a/eth0", "drop=1", "direction=out", "every=2")
    assert out(net, 0, 2) == [0, 1], "of each pair one"
    net.remove(first)
    assert out(net, 2, 4) == [3, 5]
    net.remove(second)
    assert out(net, 6, 2) == [6, 7]


def test_several_words_of_one_rule(net: Net) -> None:
    net.add("a/eth0", "duplicate=1", "delay=30ms", "direction=in")
    began = net.back.vcpu.now()
    assert into(net, 0, 2, wait=4) == [0, 0, 1, 1]
    assert net.back.vcpu.now() - began >= 0.03


def test_rules_come_and_go_and_no_frame_is_lost_or_overtaken(net: Net) -> None:
    """Under traffic both ways, of a rule that never fires."""
    guest, sent = net.guests[0], 0
    for _ in range(10):
        number = net.breaker.add("a/eth0", "drop=1", "after=1000000")
        for _ in range(20):
            assert guest.wire.send(made(guest.mac, BRIDGE, sent))
            guest.send(BRIDGE, sent)
            sent += 1
            if sent % 7 == 0:
                net.turn(0.0)
        net.breaker.remove(number)
    heard: list[int] = []

    def all_there() -> bool:
        guest.take()
        heard.extend(number_of(frame) for frame in guest.wire.frames())
        return len(guest.got) >= sent and len(heard) >= sent

    net.run(all_there, "every frame")
    assert guest.got == heard == list(range(sent))


def test_what_a_rule_holds_comes_when_it_goes(net: Net) -> None:
    number = net.add("a/eth0", "delay=1h")
    assert (out(net, 0, 3), into(net, 0, 3)) == ([], [])
    net.breaker.remove(number)
    net.rest()
    assert [number_of(frame) for frame in net.guests[0].wire.frames()] == [0, 1, 2]
    assert into(net, 3, 1, wait=4) == [0, 1, 2, 3]


def test_a_healthy_domain_has_its_own_link_back(net: Net) -> None:
    """The very descriptor: nothing stands there when no rule does."""
    guest = net.guests[0]
    driver = net.back.backends.drivers[f"backend/vif/{guest.domain.domid}/0"]
    number = net.add("a/eth0", "drop=1", "after=1000")
    assert driver._before is not guest.wire  # type: ignore[attr-defined]
    net.remove(number)
    net.run(lambda: driver._before is guest.wire, "its own link")  # type: ignore[attr-defined]
    assert net.back.seams._layers.get("link") == []


def test_a_guest_that_takes_nothing_costs_a_bounded_sum(net: Net) -> None:
    """Its frames wait in the link, as without a rule; the link takes no more at some time."""
    guest = net.guests[0]
    net.add("a/eth0", "drop=1", "direction=in", "after=100000")
    net.live.remove(guest.domain)  # it takes no turn
    taken = 0
    for number in range(20000):
        if not guest.wire.send(made(guest.mac, BRIDGE, number, 1000)):
            break
        taken += 1
        if number % 50 == 0:
            net.rest(2)
    assert taken < 20000
    net.live.append(guest.domain)
    assert net.until(guest, taken) == list(range(taken))
