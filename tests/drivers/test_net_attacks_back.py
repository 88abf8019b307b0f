"""Hostile backends of a vif, by the shapes of the published attacks.

A villain domain answers the frontend with raw slots; the guest has a second interface with an
honest backend. After each attack that one works both ways, and the frontend has said what it
refused: an error counted by its reason, or its device given up with an error node.

Where a docstring says what turns a test red, that was tried; those about shared memory that changes
and about pools were not: there is no such pool, and the ring copies (tests/domain/test_ring.py).
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import pytest

from hvsim.domain.domain import Domain
from hvsim.domain.hypercall import HypercallError
from hvsim.domain.mapper import GrantError
from hvsim.drivers.net.front import NetFront
from tests.drivers.netrig import NetRig, Wire, flipping
from tests.drivers.rawnet import (
    ERROR,
    EXTRA_HASH,
    NULL,
    OKAY,
    PAGE,
    REQ_EVENT,
    REQ_PROD,
    RING_BYTES,
    RSP_PROD,
    RX_CSUM_BLANK,
    RX_EXTRA,
    RX_MORE,
    RX_SLOT,
    SLOTS,
    RawBack,
    extra,
    extra_gso,
    rx_response,
    tx_response,
)
from tests.support.hv import Hypervisor

FRAME = bytes.fromhex("00163e000002 00163e000001 0800") + bytes(range(46))
FEATURES = {
    "feature-sg": "1",
    "feature-gso-tcpv4": "1",
    "feature-gso-tcpv6": "1",
    "feature-rx-copy": "1",
    "feature-split-event-channels": "1",
    "multi-queue-max-queues": "4",
    "feature-persistent": "1",
}


class Attacked(NetRig):
    """A guest with two interfaces: 0 is served by the villain, 1 by an honest backend.

    Attributes:
        guest: whose frontends are attacked; `nics` those.
        raw, good: the backends of 0 and 1.
    """

    def __init__(self, hv: Hypervisor) -> None:
        super().__init__(hv)
        self.guest = self.domain()
        self.nics = NetFront.register(self.guest, lambda info: self.wire(str(info.name)))
        self.honest = self.domain()
        self.good = self.connect(self.honest, 1)
        self.villain = self.domain()

    def offer(self, back: Domain, index: int, **features: str) -> dict[str, str]:
        """The backend's part until the frontend has published; what that wrote."""
        self.attach(back, self.guest, index)
        path = self.back_path(back, self.guest, index)
        keys = {**FEATURES, **{key.replace("_", "-"): value for key, value in features.items()}}
        for key, value in keys.items():
            self.write(f"{path}/{key}", value)
        self.write(f"{path}/state", "2")
        front = self.front_path(self.guest, index)
        self.run(lambda: self.state(front) == "4", "the frontend's rings")
        prefix = f"{front}/"
        return {
            name.removeprefix(prefix): value.decode()
            for name, value in self.store.nodes.items()
            if name.startswith(prefix)
        }

    def connect(self, back: Domain, index: int, **features: str) -> RawBack:
        """A backend that takes the rings."""
        keys = self.offer(back, index, **features)
        raw = RawBack(back, self.guest.domid, keys)
        self.closing.append(raw.close)
        self.write(f"{self.back_path(back, self.guest, index)}/state", "4")
        self.run(lambda: self.nics[index].connected, "Connected")
        raw.offered()
        return raw

    def enter(self, **features: str) -> RawBack:
        """The villain connects, politely."""
        self.raw = self.connect(self.villain, 0, **features)
        return self.raw

    @property
    def stack(self) -> Wire:
        """The guest's stack behind the attacked interface."""
        return next(wire for wire in reversed(self.wires) if wire.name == "eth0")

    @property
    def front(self) -> str:
        """The attacked frontend's directory."""
        return self.front_path(self.guest)

    def figures(self) -> dict[str, int]:
        """What the attacked interface counted."""
        return dict(self.nics[0].statistics())

    def errors_counted(self) -> int:
        """Frames that the backend got wrong, and answers."""
        return sum(number for name, number in self.figures().items() if "_error_" in name)

    def served(self) -> None:
        """The other interface works both ways, still."""
        wire = next(wire for wire in self.wires if wire.name == "eth1")
        wire.receive()
        assert wire.send(FRAME)
        self.run(lambda: self.good.sent_frames() == [FRAME], "a frame of the other interface")
        self.good.ring_bell()
        self.good.deliver(FRAME[::-1])
        self.run(lambda: FRAME[::-1] in wire.frames(), "a frame for the other interface")

    def works(self) -> None:
        """The attacked interface itself goes on, once the backend behaves."""
        self.stack.receive()
        self.raw.deliver(FRAME)
        self.run(lambda: FRAME in self.stack.frames(), "a frame")
        self.stack.send(FRAME)
        self.run(lambda: FRAME in self.raw.sent_frames(), "a frame that is sent")
        self.raw.ring_bell()

    def respond(self, *responses: bytes) -> None:
        """Raw RX responses, which use up as many requests; there must be as many."""

        def enough() -> bool:
            self.raw.offered()
            return len(self.raw.requests) >= len(responses)

        self.run(enough, f"{len(responses)} requests; {len(self.raw.requests)} are there", 400)
        del self.raw.requests[: len(responses)]
        self.raw.respond(responses)

    def refused(self) -> None:
        """Counted as the backend's error, or the device given up; no frame reached the stack."""
        self.run(
            lambda: self.errors_counted() > 0 or self.state(self.front) in ("5", "6"), "a refusal"
        )
        assert self.stack.frames() == []

    def given_up(self) -> None:
        """The device was closed with an error node."""
        self.run(lambda: self.state(self.front) in ("5", "6"), "the device given up")
        assert self.errors(self.guest)


@pytest.fixture
def net(hv: Hypervisor) -> Iterator[Attacked]:
    made = Attacked(hv)
    try:
        yield made
    finally:
        made.close()


# -- (c) shape extremes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "status"),
    [(0, 4097), (4095, 60), (4096, 1), (0xFFFF, 60), (0, 32767), (0xFFFF, 32767), (4090, 14)],
)
def test_a_piece_beyond_its_page(net: Attacked, offset: int, status: int) -> None:
    """XSA-376: bytes of the guest's other pages must not become a frame.

    Red without the comparison with the page's size.
    """
    net.enter()
    net.respond(rx_response(0, offset, 0, status))
    net.refused()
    net.works()
    net.served()


@pytest.mark.parametrize("status", [-1, -2, -32768, 0, 1, 13])
def test_an_error_and_a_frame_that_is_too_short(net: Attacked, status: int) -> None:
    """Red without the comparison with an Ethernet header."""
    net.enter()
    net.respond(rx_response(0, 0, 0, status))
    net.refused()
    net.works()
    net.served()


@pytest.mark.parametrize("slots", [19, 20, 64, SLOTS])
def test_too_many_slots(net: Attacked, slots: int) -> None:
    """A chain longer than any frame, up to the whole ring; red without the limit."""
    net.enter()
    chain = [rx_response(0, 0, RX_MORE, 100) for _ in range(slots - 1)]
    net.respond(*chain, rx_response(0, 0, 0, 100))
    net.refused()
    net.works()
    net.served()


@pytest.mark.parametrize("flags", [RX_MORE, RX_EXTRA, RX_MORE | RX_EXTRA])
def test_a_frame_that_never_ends(net: Attacked, flags: int) -> None:
    """More is promised and nothing follows: the pages come back, nobody waits.

    Red when the pages of such a frame are forgotten (the ring runs dry).
    """
    net.enter()
    for _ in range(2 * SLOTS):
        net.respond(rx_response(0, 0, flags, 100))
        net.turn(0.0)
    net.refused()
    net.works()
    net.served()


@pytest.mark.parametrize(
    ("slots", "errors"),
    [
        ([extra(0)], 2),
        ([extra(9)], 2),
        ([extra(255)], 2),
        ([extra_gso(0)], 1),
        ([extra_gso(1448, 0)], 1),
        ([extra_gso(1448, 7)], 1),
        ([extra_gso(1, 1)], 1),
        ([extra_gso(1448, more=True), extra_gso(0)], 1),
        ([extra(EXTRA_HASH, b"\xff" * 6, more=True), extra(0)], 2),
    ],
)
def test_an_extra_info_that_cannot_be(net: Attacked, slots: list[bytes], errors: int) -> None:
    """The whole packet is the backend's error, and nothing of it reaches the stack of the guest.

    *errors*: the packet is no TCP whose checksum could be left out; a type that there is not is one
    of its own.  Red when such a type is passed over, or a GSO info is believed.
    """
    net.enter()
    net.raw.offered()
    _, ref = net.raw.requests[0]
    net.raw.poke(ref, FRAME)
    net.respond(rx_response(0, 0, RX_EXTRA | RX_CSUM_BLANK, len(FRAME)), *slots)
    net.rest(60)
    assert net.errors_counted() == errors
    assert net.stack.receive() == []
    net.works()
    net.served()


def test_extra_infos_without_end(net: Attacked) -> None:
    """They use up the ring; the pages come back.  Red when they are forgotten."""
    net.enter()
    for _ in range(3):
        net.respond(rx_response(0, 0, RX_EXTRA, 60), *[extra_gso(1448, more=True)] * (SLOTS // 2))
        net.rest(10)
    assert net.stack.frames() == []
    net.works()
    net.served()


def test_answers_in_any_order_of_ids(net: Attacked) -> None:
    """The place in the ring counts, not the id: no page is delivered twice.

    Red when the id of the answer is believed.
    """
    net.enter()
    net.raw.offered()
    refs = [ref for _, ref in net.raw.requests[:4]]
    for number, ref in enumerate(refs):
        net.raw.poke(ref, FRAME[:14] + bytes([number]) * 46)
    net.respond(*[rx_response(ident, 0, 0, 60) for ident in (77, 0xFFFF, 0, 0)])
    seen: list[int] = []

    def four() -> bool:
        seen.extend(frame[20] for frame in net.stack.frames())
        return len(seen) >= 4

    net.run(four, "four frames")
    assert seen == [0, 1, 2, 3]
    net.works()
    net.served()


# -- TX answers ---------------------------------------------------------------------------------


def sent(net: Attacked) -> tuple[int, int]:
    """The guest sends one frame; (id, reference) of its request, unanswered."""
    net.stack.send(FRAME)
    slots: list[bytes] = []

    def there() -> bool:
        slots.extend(net.raw.sent())
        return bool(slots)

    net.run(there, "a request")
    ref, _, _, ident, _ = struct.unpack("<IHHHH", slots[0])
    return ident, ref


@pytest.mark.parametrize("wrong", [1, 256, 0x8000, 0xFFFF])
def test_an_answer_for_what_was_not_asked(net: Attacked, wrong: int) -> None:
    """XSA-376: an id that is not out frees no page twice.  Red without the set of those out."""
    net.enter()
    ident, _ = sent(net)
    net.raw.tx.put(tx_response((ident + wrong) & 0xFFFF, OKAY))
    net.raw.tx.publish(RSP_PROD)
    net.raw.ring_bell()
    net.given_up()
    net.served()


def test_the_same_answer_twice(net: Attacked) -> None:
    """Red without the set of those out: one page for two frames."""
    net.enter()
    idents = [sent(net)[0] for _ in range(2)]
    for _ in range(2):
        net.raw.tx.put(tx_response(idents[0], OKAY))
    net.raw.tx.publish(RSP_PROD)
    net.raw.ring_bell()
    net.given_up()
    net.served()


@pytest.mark.parametrize("status", [ERROR, -2, -100, 5, 32767])
def test_any_status_frees_the_request(net: Attacked, status: int) -> None:
    """A refusal costs its frame, not the ring."""
    net.enter()
    for _ in range(2 * SLOTS):
        ident, _ = sent(net)
        net.raw.tx.put(tx_response(ident, status))
        net.raw.tx.publish(RSP_PROD)
        net.raw.ring_bell()
        net.turn(0.0)
    net.works()
    net.served()


def test_answers_that_are_none(net: Attacked) -> None:
    """NULL for every request: its pages are in doubt for ever, none is used for another frame, and
    the ring runs dry in order.

    Red when the page of such an answer is used again.
    """
    net.enter()
    granted: list[int] = []
    for _ in range(2 * SLOTS):
        net.stack.send(FRAME)
        net.turn(0.0)
        for slot in net.raw.sent():
            granted.append(struct.unpack_from("<I", slot)[0])
            net.raw.tx.put(tx_response(0, NULL))
        net.raw.tx.publish(RSP_PROD)
        net.raw.ring_bell()
        net.turn(0.0)
    assert SLOTS // 2 < len(set(granted)) == len(granted) <= SLOTS
    net.stack.send(FRAME)
    net.turn(0.0)
    assert net.raw.sent() == []
    assert net.state(net.front) == "4"
    net.served()


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
    nic = net.nics[0]
    net.write(f"{net.back_path(net.villain, net.guest)}/state", "5")
    net.run(lambda: net.state(net.front) == "6", "closed")
    net.raw.close()
    net.closing.remove(net.raw.close)
    net.rest()
    assert nic._leftovers.nr_pages > 0
    net.served()
    new = net.domain()
    raw = net.connect(new, 0)
    net.closing.append(raw.close) if raw.close not in net.closing else None
    assert bytes(held.view) == old, "a page of the new connection"
    held.unmap()
    net.run(lambda: nic._leftovers.nr_pages == 0, "the pages to be freed", 40_000)
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
    for granted in sorted(net.guest.grants._taken):
        with pytest.raises(GrantError):
            new.mapper.map(net.guest.domid, granted)
    assert ref in net.guest.grants._taken
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
    for _ in range(3000):
        net.raw.ring_bell()
        if net.guest.vcpu.block(0):
            net.guest.vcpu.dispatch()
    woken = 0
    for _ in range(200):
        net.raw.ring_bell()
        if net.guest.vcpu.block(0):
            woken += 1
            net.guest.vcpu.dispatch()
    assert woken < 100, "it is listened to as before"
    net.served()
    net.raw.tx.words[REQ_EVENT] = net.raw.tx.cons + 1
    net.works()


def test_a_backend_that_toggles_its_state(net: Attacked) -> None:
    """XSA-349/350/465: any state after any other; nothing piles up in the guest."""
    net.enter()
    path = net.back_path(net.villain, net.guest)
    grants, ports = len(net.guest.grants._taken), len(net.guest.events.ports())
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
    net.run(lambda: len(net.guest.grants._taken) <= grants, "grants to be ended", 40_000)
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
    assert len(net.guest.grants._taken) < 5000
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
