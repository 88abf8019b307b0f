"""Hostile backends of a vif: indices, pages, rings that stand still, states, dice."""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Iterator

import pytest

from hvsim.domain.hypercall import HypercallError
from hvsim.domain.mapper import GrantError
from hvsim.drivers.net.front import NetFront
from tests.drivers.netrig import flipping, woken_by
from tests.drivers.rawnet import (
    PAGE,
    REQ_EVENT,
    REQ_PROD,
    RING_BYTES,
    RSP_PROD,
    RX_MORE,
    RX_SLOT,
    SLOTS,
    rx_response,
)
from tests.drivers.villain_back import FEATURES, FRAME, Attacked, sent
from tests.support.hv import Hypervisor


@pytest.fixture
def net(hv: Hypervisor) -> Iterator[Attacked]:
    with contextlib.closing(Attacked(hv)) as made:
        yield made


# -- (a), (b), (h) ------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [SLOTS + 1, 1000, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("ring", ["tx", "rx"])
def test_an_index_out_of_range(net: Attacked, ring: str, ahead: int) -> None:
    """XSA-376: red when what the ring refuses is not caught."""
    net.enter()
    (net.raw.tx if ring == "tx" else net.raw.rx).publish(RSP_PROD, ahead)
    net.raw.ring_bell()
    for _ in range(SLOTS):
        net.stack.send(FRAME)
        net.turn(0.0)
    net.given_up()
    net.served()


def test_a_link_that_goes_is_listened_to_no_more(
    net: Attacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No attack, but as sudden: the device stays, and its backend is served.  Red when what the
    link's read raises is not caught, and when it is asked again for ever."""
    said: list[str] = []
    monkeypatch.setattr(net.guest, "log", said.append)
    net.enter()
    net.raw.deliver(FRAME)
    net.rest()
    net.stack.lose()
    net.rest()
    assert said == ["eth0: the link has gone: [Errno 104] Connection reset by peer"]
    before = net.figures()
    net.rest()
    assert net.figures() == before
    net.raw.deliver(FRAME)
    net.rest()
    assert net.state(net.front) == "4"
    net.served()


def test_responses_that_change_while_they_are_read(net: Attacked) -> None:
    """XSA-155: another processor writes length, offset and flags all the time."""
    net.enter()
    good, bad = rx_response(0, 0, 0, 60), rx_response(0, 4000, RX_MORE, 32767)
    view = net.raw.rx.page[RING_BYTES : RING_BYTES + SLOTS * RX_SLOT]
    whole = (good * SLOTS, bad * SLOTS)

    def flip() -> None:
        view[:] = whole[1]
        view[:] = whole[0]

    with flipping(flip):
        for _ in range(400):
            net.raw.offered()
            if not net.raw.requests:
                net.turn(0.0)
                continue
            net.raw.requests.pop(0)
            net.raw.rx.prod += 1
            net.raw.rx.publish(RSP_PROD)
            net.raw.ring_bell()
            net.turn(0.0)
            assert {len(frame) for frame in net.stack.frames()} <= {60}
            if net.state(net.front) != "4":
                break
    view.release()
    net.served()


def test_a_backend_sees_no_frame_of_others(net: Attacked) -> None:
    """XSA-403: what is granted to a backend holds its own frames and zeros, nothing of the other
    interface."""
    secret = FRAME[:14] + b"secret of the other side" * 40
    wire = next(wire for wire in net.wires if wire.name == "eth1")
    for _ in range(300):
        wire.send(secret)
        net.turn(0.0)
        net.good.sent_frames()
        net.good.ring_bell()
    net.enter()
    refs = {ref for _, ref in net.raw.requests}
    for _ in range(300):
        net.stack.send(FRAME)
        net.turn(0.0)
        refs |= {struct.unpack("<IHHHH", slot)[0] for slot in net.raw.sent()}
    pages = [net.raw.peek(ref, 0, PAGE) for ref in refs]
    assert [page for page in pages if FRAME in page], "nothing was seen of its own frames"
    assert [page for page in pages if b"secret" in page] == []
    net.served()


def test_a_page_that_the_backend_holds_on_to(net: Attacked) -> None:
    """XSA-396: it keeps a page mapped after everything is over.  The frontend frees it later, and
    gives it to nobody else.  Red when what it still maps is forgotten."""
    net.enter()
    _, ref = sent(net)
    held = net.villain.mapper.map(net.guest.domid, ref, readonly=True)
    old = bytes(held.view)
    front = net.guest.frontends.drivers["device/vif/0"]
    assert isinstance(front, NetFront)
    net.write(f"{net.back_path(net.villain, net.guest)}/state", "5")
    net.run(lambda: net.state(net.front) == "6", "closed")
    net.raw.close()
    net.closing.remove(net.raw.close)
    net.rest()
    assert front.deferred.nr_pages > 0
    net.served()
    new = net.domain()
    raw = net.connect(new, 0)
    net.closing.append(raw.close) if raw.close not in net.closing else None
    assert bytes(held.view) == old, "a page of the new connection"
    held.unmap()
    net.run(lambda: front.deferred.nr_pages == 0, "the pages to be freed", 40_000)
    net.served()


def test_a_successor_reaches_nothing_of_the_dead_one(net: Attacked) -> None:
    """XSA-465, family (i): a backend dies with requests out; the next one connects, and what was
    the old one's is neither granted nor bound to it."""
    net.enter()
    _, ref = sent(net)
    port = net.raw.ports[0]
    remote = net.villain.events.status(port)["remote_port"]
    net.closing.remove(net.raw.close)
    net.raw.tx.release()
    net.raw.rx.release()
    net.kill(net.villain)
    new = net.villain = net.domain()
    for granted in sorted(net.guest.grants.taken):
        with pytest.raises(GrantError):
            new.mapper.map(net.guest.domid, granted)
    assert ref in net.guest.grants.taken
    with pytest.raises(HypercallError):
        new.events.bind_interdomain(net.guest.domid, remote)
    net.raw = net.connect(new, 0)
    net.works()
    net.served()


# -- (d) never consume, (e) notify flood, (f) state thrash ---------------------------------------


def test_a_backend_that_takes_nothing(net: Attacked) -> None:
    """The guest's frames wait on the ring and in its own stack's bounded queue; red when the
    frontend reads on without room."""
    net.enter()
    accepted = 0
    for _ in range(40):
        for _ in range(100):
            accepted += net.stack.send(FRAME[:14] + bytes(1400))
        net.rest(2)
    assert net.raw.tx.words[REQ_PROD] <= SLOTS
    assert accepted < 4000, "it was all taken"
    net.served()


def test_a_backend_that_rings_without_work(net: Attacked) -> None:
    """XSA-391: after a while its bell is not listened to; frames still come, a little later.

    Red without the limit on events without work.
    """
    net.enter()
    net.rest()
    woken_by(net.guest, net.raw.ring_bell, 3000)
    woken = woken_by(net.guest, net.raw.ring_bell, 200)
    assert woken < 100, "it is listened to as before"
    net.served()
    net.raw.tx.words[REQ_EVENT] = net.raw.tx.cons + 1
    net.works()


def test_a_backend_that_toggles_its_state(net: Attacked) -> None:
    """XSA-349/350/465: any state after any other; nothing piles up in the guest."""
    net.enter()
    path = net.back_path(net.villain, net.guest)
    grants, ports = len(net.guest.grants.taken), len(net.guest.events.ports())
    dice = random.Random(7)
    for _ in range(200):
        net.write(f"{path}/state", str(dice.choice([1, 2, 2, 3, 4, 4, 5, 6, 9])))
        net.store.settle()
        if dice.random() < 0.5:
            net.turn(0.0)
    net.served()
    net.raw.close()
    net.closing.remove(net.raw.close)
    net.run(lambda: len(net.guest.events.ports()) <= ports, "ports to be closed")
    net.run(lambda: len(net.guest.grants.taken) <= grants, "grants to be ended", 40_000)
    net.served()


@pytest.mark.parametrize(
    "features",
    [
        {"multi_queue_max_queues": "-1"},
        {"multi_queue_max_queues": "0"},
        {"multi_queue_max_queues": "1000000"},
        {"multi_queue_max_queues": "x"},
        {"feature_split_event_channels": "nonsense"},
        {"feature_sg": "-7"},
        {"feature_gso_tcpv4": "9" * 400},
        {"feature_persistent": "\x7f"},
        {"feature_rx_copy": "0"},
    ],
)
def test_nonsense_in_its_directory(net: Attacked, features: dict[str, str]) -> None:
    """The frontend takes what makes sense, or gives the device up; the guest lives."""
    net.attach(net.villain, net.guest, 0)
    path = net.back_path(net.villain, net.guest)
    keys = {**FEATURES, **{key.replace("_", "-"): value for key, value in features.items()}}
    for key, value in keys.items():
        net.write(f"{path}/{key}", value)
    net.write(f"{path}/state", "2")
    net.rest(40)
    assert net.state(net.front) in ("1", "4", "5", "6")
    assert len(net.guest.grants.taken) < 5000
    net.served()


# -- everything at once -------------------------------------------------------------------------


def test_random_responses_never_hurt_the_frontend(net: Attacked) -> None:
    """Any eight bytes: the guest lives, its stack gets frames of possible sizes only, and a new
    backend is served afterwards."""
    dice = random.Random(12)
    came = 0
    for _ in range(8):
        net.enter()
        for _ in range(60):
            responses = []
            for _ in range(dice.randrange(1, 25)):
                raw = bytearray(dice.randbytes(8))
                if dice.random() < 0.8:
                    struct.pack_into("<H", raw, 2, dice.choice([0, 0, 64, 4000, 4095]))
                    struct.pack_into("<H", raw, 4, dice.choice([0, 0, 1, 2, 4, 8, 12, 16]))
                    struct.pack_into("<h", raw, 6, dice.choice([0, 13, 14, 60, 4096, -1, 9000]))
                responses.append(bytes(raw))
            net.raw.offered()
            responses = responses[: len(net.raw.requests)]
            if not responses:
                net.rest(3)
                continue
            net.respond(*responses)
            net.rest(3)
            for _, frame in net.stack.receive():
                assert 14 <= len(frame) <= 18 * PAGE
                came += 1
            if net.state(net.front) != "4":
                break
        net.served()
        net.raw.close()
        net.closing.remove(net.raw.close)
        net.tool.rm(net.back_path(net.villain, net.guest))
        net.tool.rm(net.front)
        net.run(lambda: 0 not in net.nics, "the interface to go")
        net.villain = net.domain()
    assert came > 100, "next to nothing was taken: nothing was tried"
    net.served()
