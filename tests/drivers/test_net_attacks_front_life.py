"""Hostile frontends of a vif: rings that stand still or ring for ever, states, keys, dice."""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Iterator

import pytest

from tests.drivers.netrig import Wire, woken_by
from tests.drivers.rawnet import (
    EXTRA_MCAST_ADD,
    OKAY,
    REQ_PROD,
    RSP_EVENT,
    RSP_PROD,
    SLOTS,
    TX_EXTRA,
    RawFront,
    extra,
)
from tests.drivers.villain_front import FRAME, Attacked, one
from tests.support.hv import Hypervisor


@pytest.fixture
def net(hv: Hypervisor) -> Iterator[Attacked]:
    with contextlib.closing(Attacked(hv)) as made:
        yield made


# -- (d) never consume --------------------------------------------------------------------------


def flood(wire: Wire, count: int, tag: int = 0) -> int:
    """Numbered frames until the port takes no more; how many it took."""
    for number in range(count):
        if not wire.send(FRAME[:14] + struct.pack("<II", tag, number) + bytes(1400)):
            return number
    return count


def test_a_frontend_that_offers_no_buffers(net: Attacked) -> None:
    """XSA-392: nothing piles up behind it; what cannot be delivered is dropped and counted, or
    stays in the port's own bounded queue.  Red with a backend that reads on and keeps the frames.
    """
    net.enter()
    taken = 0
    for _ in range(40):
        taken += flood(net.wire_out, 200)
        net.rest(3)
    kept = taken - net.driver.statistics()["tx_dropped"]
    assert kept < 2000, "it was all kept"
    net.served()
    left = 0
    for _ in range(60):
        net.raw.post(16)
        net.rest(3)
        left += len(net.raw.received())
    assert 0 < left <= kept
    net.served()


def test_a_frontend_that_keeps_one_buffer_free(net: Attacked) -> None:
    """XSA-392: one buffer at a time, so that it does not look stalled, and frames of sixteen."""
    net.enter()
    large = FRAME[:14] + bytes(60000)
    for _ in range(100):
        net.wire_out.send(large)
        net.rest(1)
    net.raw.post(1)
    net.rest()
    for _ in range(100):
        net.wire_out.send(large)
        net.rest(1)
    net.served()
    net.raw.post(60, first=1)
    net.rest(60)
    net.served()


def test_a_frontend_that_takes_no_answers(net: Attacked) -> None:
    """Ten rings full of requests over answers that nobody looked at."""
    net.enter()
    for _ in range(10):
        for _ in range(SLOTS):
            net.raw.tx[0].put(one(net, 60))
        net.raw.tx[0].publish(REQ_PROD)
        net.raw.ring_bell()
        net.run(
            lambda: net.raw.tx[0].words[RSP_PROD] == net.raw.tx[0].prod & 0xFFFFFFFF, "all answered"
        )
        net.wire_out.receive()
    net.served()


# -- (e) notify flood, (f) state thrash, (g) quota exhaustion -----------------------------------


def test_a_frontend_that_rings_without_work(net: Attacked) -> None:
    """XSA-332: after a while its bell is not listened to; its frames still go, a little later.

    Red without the limit on events without work.
    """
    net.enter()
    net.rest()
    woken_by(net.back, net.raw.ring_bell, 3000)
    woken = woken_by(net.back, net.raw.ring_bell, 200)
    assert woken < 100, "it is listened to as before"
    net.served()
    net.raw.tx[0].words[RSP_EVENT] = 1
    assert net.statuses(net.raw.frame(FRAME)) == [OKAY]


def test_a_frontend_that_toggles_its_state(net: Attacked) -> None:
    """XSA-350, XSA-349: connected and gone, over and over; nothing piles up.

    Red when the queues are not closed.
    """
    path = net.attached(net.villain)
    raw = net.raw = RawFront(net.villain, net.back.domid)
    net.closing.append(raw.close)
    net.publish(net.villain, raw.keys(), "1")
    pages, ports = net.back.mapper.live_pages, net.back.events.ports()
    watches = sum(len(c.watches) for c in net.store.connections if c.domid == net.back.domid)
    dice = random.Random(5)
    for _ in range(150):
        net.write(f"{net.front_path(net.villain)}/state", str(dice.choice([1, 2, 3, 4, 4, 5, 6])))
        net.store.settle()
        if dice.random() < 0.5:
            net.turn(0.0)
    net.served()
    for state in ("1", "4"):  # in the end it is connected, and vanishes so
        net.write(f"{net.front_path(net.villain)}/state", state)
        net.rest()
    if net.state(path) != "4":
        net.tool.rm(path)
        net.rest()
        net.attached(net.villain)
        net.publish(net.villain, raw.keys(), "4")
    net.run(lambda: net.state(path) == "4", "Connected, in the end")
    net.tool.rm(net.front_path(net.villain))
    net.tool.rm(path)
    net.run(lambda: f"backend/vif/{net.villain.domid}/0" not in net.back.backends.devices, "gone")
    assert net.back.mapper.live_pages == pages
    assert net.back.events.ports() == ports
    now = sum(len(c.watches) for c in net.store.connections if c.domid == net.back.domid)
    assert now <= watches
    net.served()


def test_multicast_filters_without_end(net: Attacked) -> None:
    """Ten thousand addresses: the list is bounded."""
    net.enter()
    for number in range(2500):
        address = struct.pack(">HI", 0x0100, number)
        slots = [one(net, 0, flags=TX_EXTRA), extra(EXTRA_MCAST_ADD, address)]
        net.statuses(slots)
        if net.state(net.path) != "4":
            break
    assert net.wire_out.frames() == []
    net.served()


@pytest.mark.parametrize(
    "changed",
    [
        {"tx-ring-ref": "99999"},
        {"tx-ring-ref": "x"},
        {"rx-ring-ref": "-1"},
        {"rx-ring-ref": ""},
        {"tx-ring-ref": "0"},
        {"event-channel": "999"},
        {"event-channel": "-1"},
        {"event-channel": "1"},
        {"multi-queue-num-queues": "0"},
        {"multi-queue-num-queues": "1000000"},
        {"multi-queue-num-queues": "-2"},
        {"multi-queue-num-queues": "2"},
        {"event-channel": "", "event-channel-tx": "5", "event-channel-rx": "nothing"},
        {"request-rx-copy": "0"},
        {"tx-ring-ref": "1" * 2000},
    ],
)
def test_what_a_frontend_may_not_publish(net: Attacked, changed: dict[str, str]) -> None:
    """It is refused with an error node, nothing stays mapped or bound, and others are served."""
    net.attached(net.villain)
    net.raw = RawFront(net.villain, net.back.domid)
    net.closing.append(net.raw.close)
    pages, ports = net.back.mapper.live_pages, net.back.events.ports()
    net.publish(net.villain, {**net.raw.keys(), **changed}, "4")
    assert net.turned_down()
    assert net.back.mapper.live_pages == pages
    assert net.back.events.ports() == ports
    net.served()


def test_one_bad_queue_of_several(net: Attacked) -> None:
    """The first one is let go of again.  Red without that."""
    net.attached(net.villain)
    net.raw = RawFront(net.villain, net.back.domid, 2)
    net.closing.append(net.raw.close)
    pages, ports = net.back.mapper.live_pages, net.back.events.ports()
    net.publish(net.villain, {**net.raw.keys(), "queue-1/tx-ring-ref": "99999"}, "4")
    assert net.turned_down()
    assert net.back.mapper.live_pages == pages
    assert net.back.events.ports() == ports
    net.served()


# -- everything at once -------------------------------------------------------------------------


def test_random_slots_never_hurt_the_backend(net: Attacked) -> None:
    """Any twelve bytes: the backend answers or gives the device up, and lets go of every page."""
    dice = random.Random(11)
    pages = net.back.mapper.live_pages
    for _ in range(12):
        net.enter()
        for _ in range(60):
            slots = []
            for _ in range(dice.randrange(1, 30)):
                raw = bytearray(dice.randbytes(12))
                if dice.random() < 0.8:
                    struct.pack_into("<I", raw, 0, dice.choice(net.raw.refs))
                    struct.pack_into("<H", raw, 4, dice.choice([0, 0, 64, 4000, 4095]))
                    struct.pack_into("<H", raw, 6, dice.choice([0, 0, 1, 2, 4, 8, 12]))
                    struct.pack_into(
                        "<H", raw, 10, dice.choice([0, 13, 14, 60, 1500, 4096, 0xFFFF])
                    )
                slots.append(bytes(raw))
            net.raw.transmit(slots)
            net.rest(3)
            net.raw.answers()
            for _, frame in net.wire_out.receive():
                assert 14 <= len(frame) <= 0xFFFF
            if net.state(net.path) != "4":
                break
        net.served()
        net.tool.rm(net.front_path(net.villain))
        net.tool.rm(net.path)
        net.rest()
        assert net.villain.grants.end_access_many([*net.raw.refs, *net.raw.ring_refs]) == []
        net.villain = net.domain()
    net.served()
    assert net.back.mapper.live_pages <= pages + 64
