"""Hostile frontends of a vif, by the shapes of the published attacks.

A villain puts raw slots on its rings; beside it an honest guest has a vif of the same backend
domain. After each attack the honest one is served both ways, and the backend has said what it
refused: an error response, a drop counted by its reason, or the device given up with an error node.

Where a docstring says what turns a test red, that was tried. The others stand beside one that was,
or hold by several checks at once.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import pytest

from hvsim.domain.domain import Domain
from hvsim.domain.grants import GrantInUse
from hvsim.domain.hypercall import HypercallError
from hvsim.domain.mapper import GrantError
from hvsim.drivers.net.back import NetBack
from tests.drivers.netrig import NetRig, Wire, flipping
from tests.drivers.rawnet import (
    DROPPED,
    ERROR,
    EXTRA_GSO,
    EXTRA_HASH,
    EXTRA_MCAST_ADD,
    EXTRA_MORE,
    NULL,
    OKAY,
    PAGE,
    REQ_PROD,
    RING_BYTES,
    RSP_EVENT,
    RSP_PROD,
    SLOTS,
    TX_CSUM_BLANK,
    TX_EXTRA,
    TX_MORE,
    RawFront,
    extra,
    extra_gso,
    tx_request,
)
from tests.observe.frames import ACK, PSH, tcp
from tests.support.hv import Hypervisor

FRAME = bytes.fromhex("00163e000002 00163e000001 0800") + bytes(range(46))
REFUSED = (ERROR, DROPPED)


class Attacked(NetRig):
    """A backend, a villain and an honest guest.

    Attributes:
        back: the backend's domain.
        villain, honest: their guests; `raw` and `good` their frontends.
    """

    def __init__(self, hv: Hypervisor) -> None:
        super().__init__(hv)
        self.back = self.domain()
        NetBack.register(self.back, self.make_port)
        self.honest = self.domain()
        self.good = self.connect(self.honest)
        self.villain = self.domain()

    def make_port(self, vif: object) -> Wire:
        """What netport does: a port for a vif."""
        return self.wire(str(vif.name))  # type: ignore[attr-defined]

    def attached(self, guest: Domain) -> str:
        """The toolstack's part, until the backend waits; the backend's directory."""
        self.attach(self.back, guest)
        path = self.back_path(self.back, guest)
        self.run(lambda: self.state(path) == "2", "InitWait")
        if self.store.get(f"{path}/hotplug-status") != "connected":
            self.write(f"{path}/hotplug-status", "connected")
        return path

    def connect(
        self, guest: Domain, queues: int = 1, *, split: bool = False, **more: int
    ) -> RawFront:
        """An attached guest whose rings are taken."""
        path = self.attached(guest)
        front = RawFront(guest, self.back.domid, queues, split=split)
        self.closing.append(front.close)
        self.publish(guest, front.keys(**more), "4")
        self.run(lambda: self.state(path) == "4", "Connected")
        return front

    def enter(self, queues: int = 1, *, split: bool = False, **more: int) -> RawFront:
        """The villain connects, politely; *more* are further keys that it writes."""
        self.raw = self.connect(self.villain, queues, split=split, **more)
        return self.raw

    @property
    def wire_out(self) -> Wire:
        """The villain's port."""
        return self.wire_of(self.villain)

    @property
    def path(self) -> str:
        """The backend's directory of the villain's vif."""
        return self.back_path(self.back, self.villain)

    @property
    def driver(self) -> NetBack:
        """The backend's half of the villain's vif."""
        driver = self.back.backends.drivers[f"backend/vif/{self.villain.domid}/0"]
        assert isinstance(driver, NetBack)
        return driver

    def served(self) -> None:
        """The honest guest sends and receives, still."""
        wire = self.wire_of(self.honest)
        wire.receive()
        page = self.good.tx[0].prod % 32
        self.good.transmit(self.good.frame(FRAME, page=page))
        self.run(lambda: wire.frames() == [FRAME], "the honest guest's frame")
        self.good.received()
        self.good.post(4, first=32)
        self.rest(2)
        assert wire.send(FRAME[::-1])
        self.run(lambda: FRAME[::-1] in self.good.received(), "a frame for the honest guest")
        self.good.answers()

    def statuses(self, slots: list[bytes]) -> list[int]:
        """Transmit; the statuses of all the responses, one for each slot."""
        self.raw.transmit(slots)
        found: list[int] = []

        def done() -> bool:
            found.extend(status for _, status in self.raw.answers())
            return len(found) >= len(slots)

        self.run(done, f"{len(slots)} responses, {len(found)} came: {self.errors(self.back)}")
        return found

    def given_up(self) -> list[str]:
        """The device was closed; why."""
        self.run(lambda: self.state(self.path) in ("5", "6"), "the device given up")
        errors = self.errors(self.back)
        assert errors, "without a word"
        return errors

    def turned_down(self) -> list[str]:
        """The rings were not taken; why.  netback then calls itself Connected all the same, as the
        recorded one does (77), and no frame passes."""
        self.run(lambda: bool(self.errors(self.back)), "an error node")
        self.run(lambda: self.state(self.path) == "4", "the state after it")
        return self.errors(self.back)

    def refused_or_given_up(self, slots: list[bytes]) -> None:
        """Either every slot is answered with an error, or the whole device is given up; nothing
        comes out."""
        self.raw.transmit(slots)
        found: list[int] = []

        def done() -> bool:
            found.extend(status for _, status in self.raw.answers())
            return len(found) >= len(slots) or self.state(self.path) in ("5", "6")

        self.run(done, "a refusal")
        assert not [status for status in found if status not in (*REFUSED, NULL)]
        if len(found) < len(slots):
            assert self.errors(self.back)
        assert self.wire_out.frames() == []


@pytest.fixture
def net(hv: Hypervisor) -> Iterator[Attacked]:
    made = Attacked(hv)
    try:
        yield made
    finally:
        made.close()


def one(net: Attacked, size: int, offset: int = 0, flags: int = 0, ident: int = 1) -> bytes:
    """A request for the villain's first page, which holds a frame."""
    return tx_request(net.raw.fill(0, FRAME), offset, flags, ident, size)


def works(net: Attacked) -> None:
    """The villain's own device is not harmed by what was refused."""
    net.wire_out.receive()
    assert net.statuses(net.raw.frame(FRAME, page=9)) == [OKAY]
    assert net.wire_out.frames() == [FRAME]


# -- (c) shape extremes -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 13])
def test_a_frame_that_is_too_short(net: Attacked, size: int) -> None:
    """XSA-448: requests of no length; and less than an Ethernet header.

    Red without the comparison with an Ethernet header.
    """
    net.enter()
    assert net.statuses([one(net, size)])[0] in REFUSED
    assert net.wire_out.frames() == []
    works(net)
    net.served()


def test_pieces_of_no_length(net: Attacked) -> None:
    """XSA-448: a frame with empty pieces behind it is refused, every slot of it.

    Red without the refusal of a piece of no length.
    """
    net.enter()
    empty = [tx_request(net.raw.refs[2], 0, TX_MORE, 5, 0) for _ in range(3)]
    last = tx_request(net.raw.refs[2], 0, 0, 6, 0)
    statuses = net.statuses([one(net, len(FRAME), flags=TX_MORE), *empty, last])
    assert set(statuses) <= set(REFUSED)
    assert net.wire_out.frames() == []
    works(net)
    net.served()


@pytest.mark.parametrize(
    ("offset", "size"),
    [(4095, 60), (4050, 60), (4096, 60), (0xFFFF, 60), (0, 4097), (1, 4096), (0xFFC4, 0xFFFF)],
)
def test_a_piece_beyond_its_page(net: Attacked, offset: int, size: int) -> None:
    """Bytes of whatever lies behind the page must not leave the domain.

    Red without the comparison with the page's end.
    """
    net.enter()
    net.refused_or_given_up([one(net, size, offset)])
    net.served()


@pytest.mark.parametrize("fragments", [1, 5, 17])
def test_pieces_longer_than_the_whole(net: Attacked, fragments: int) -> None:
    """XSA-432: the first slot says 60 bytes, the others together have more.

    Red when what is left of the total may fall below zero.
    """
    net.enter()
    slots = [one(net, 60, flags=TX_MORE)]
    for number in range(fragments):
        more = TX_MORE if number + 1 < fragments else 0
        slots.append(tx_request(net.raw.refs[1], 0, more, 2 + number, PAGE))
    net.refused_or_given_up(slots)
    net.served()


@pytest.mark.parametrize("slots", [19, 20, 21, 64, SLOTS])
def test_too_many_slots(net: Attacked, slots: int) -> None:
    """XSA-423/432: more pieces than any honest frame has, up to the whole ring.

    Red without the limit of 18.
    """
    net.enter()
    total = 100 + slots - 1
    chain = [one(net, total, flags=TX_MORE)]
    chain += [tx_request(net.raw.refs[1], 0, TX_MORE, 2, 1) for _ in range(slots - 2)]
    chain.append(tx_request(net.raw.refs[1], 0, 0, 2, 1))
    net.refused_or_given_up(chain)
    net.served()


def test_a_header_in_crumbs(net: Attacked) -> None:
    """XSA-423: an Ethernet and IP header of one byte a slot comes out in one piece.

    Red with a slot less, and when the first slot's own bytes are left out.
    """
    net.enter()
    pieces = 18
    data = FRAME[: pieces - 1]
    ref = net.raw.fill(1, data)
    chain = [tx_request(net.raw.fill(0, data), 0, TX_MORE, 0, len(data) + 1)]
    for number in range(1, pieces):
        more = TX_MORE if number + 1 < pieces else 0
        chain.append(tx_request(ref, number - 1, more, number, 1))
    assert net.statuses(chain) == [OKAY] * pieces
    [frame] = net.wire_out.frames()
    assert frame == data[:1] + data
    works(net)
    net.served()


def test_a_frame_that_never_ends(net: Attacked) -> None:
    """The last slot of the ring says that more follows, and nothing does: nobody waits for it.

    Red when the frame is taken for whole.
    """
    net.enter()
    net.raw.transmit([one(net, 100, flags=TX_MORE)])
    net.rest()
    assert net.wire_out.frames() == []
    net.served()
    if net.state(net.path) == "4":
        statuses = net.statuses([tx_request(net.raw.fill(1, bytes(40)), 0, 0, 2, 40)])
        assert len(statuses) >= 1


@pytest.mark.parametrize(
    "slots",
    [
        [extra(0)],
        [extra(5)],
        [extra(255)],
        [extra_gso(0)],
        [extra_gso(1448, 0)],
        [extra_gso(1448, 3)],
        [extra_gso(1448, 255)],
        [extra_gso(1, 1)],
        [extra_gso(0xFFFF, 1)],
        [extra_gso(1448, more=True), extra_gso(0)],
        [extra(EXTRA_HASH, b"\xff" * 6, more=True), extra(9)],
    ],
)
def test_an_extra_info_that_cannot_be(net: Attacked, slots: list[bytes]) -> None:
    """Unknown types, segments of no size, GSO of a frame that is no TCP: nothing comes out, whoever
    took it would believe it.

    Red without the check of the type, and without the look at the frame's own headers.
    """
    net.enter()
    net.refused_or_given_up([one(net, len(FRAME), flags=TX_EXTRA), *slots])
    net.rest()
    assert net.wire_out.receive() == []
    net.served()


@pytest.mark.parametrize(
    "info",
    [extra_gso(0), extra_gso(1448, 0), extra_gso(1448, 2), extra_gso(1448, 7)],
    ids=["no size", "no type", "TCPv6", "unknown"],
)
def test_a_large_segment_that_is_none(net: Attacked, info: bytes) -> None:
    """A sound TCP segment over IPv4, to be cut into pieces of no size, or as something else.

    Red without the checks of size and type.
    """
    net.enter()
    segment = tcp(PSH | ACK, 1, 1, bytes(2000), whole=False)
    ref = net.raw.fill(3, segment)
    first = tx_request(ref, 0, TX_EXTRA | TX_CSUM_BLANK, 1, len(segment))
    net.refused_or_given_up([first, info])
    assert net.wire_out.receive() == []
    net.served()


def test_a_large_segment_that_is_one(net: Attacked) -> None:
    """The same with what an honest guest says goes out as it is."""
    net.enter()
    segment = tcp(PSH | ACK, 1, 1, bytes(2000), whole=False)
    ref = net.raw.fill(3, segment)
    first = tx_request(ref, 0, TX_EXTRA | TX_CSUM_BLANK, 1, len(segment))
    assert net.statuses([first, extra_gso(1000)]) == [OKAY, NULL]
    ((vnet, frame),) = net.wire_out.receive()
    assert frame == segment
    assert struct.unpack("<BBHHHH", vnet) == (1, 1, 54, 1000, 34, 16)


def test_extra_infos_without_end(net: Attacked) -> None:
    """A chain of them through the whole ring, and one that breaks off at the last slot."""
    net.enter()
    chain = [extra(EXTRA_GSO, more=True)] * (SLOTS - 1)
    net.raw.transmit([one(net, 60, flags=TX_EXTRA), *chain])
    net.rest(60)
    assert net.wire_out.frames() == []
    net.served()
    assert chain[0][1] == EXTRA_MORE


def test_a_large_segment_that_says_so_of_itself(net: Attacked) -> None:
    """64 KiB minus one, in seventeen slots: the largest honest frame goes through beside all this.

    Here so that the limits above are not simply too low.
    """
    net.enter()
    frame = FRAME[:14] + bytes(0xFFFF - 14)
    slots = net.raw.frame(frame, page=4)
    assert len(slots) == 16
    assert set(net.statuses(slots)) == {OKAY}
    assert net.wire_out.frames() == [frame]
    net.served()


# -- (h), (j) grants ----------------------------------------------------------------------------


@pytest.mark.parametrize("ref", [0, 1, 2, 7, 4000, 32767, 32768, 0xFFFFFFFF])
def test_a_reference_that_is_not_granted(net: Attacked, ref: int) -> None:
    """Also those of the store and the console page, which are granted to domain 0.

    Red when the refusal of the mapping is not caught.
    """
    net.enter()
    before = net.back.mapper.live_pages
    assert net.statuses([tx_request(ref, 0, 0, 1, 60)])[0] in REFUSED
    assert net.wire_out.frames() == []
    assert net.back.mapper.live_pages <= before + 1
    works(net)
    net.served()


@pytest.mark.parametrize("bad", range(6))
def test_the_kth_piece_fails(net: Attacked, bad: int) -> None:
    """XSA-365/367: one piece of a frame is not granted: all of it is refused, nothing is kept.

    Red when the refusal of the mapping is answered as if the frame had gone.
    """
    net.enter()
    data = FRAME + bytes(5 * PAGE)
    slots = net.raw.frame(data[: 6 * PAGE], page=4)
    slots[bad] = b"\xf0\xff\x00\x00" + slots[bad][4:]
    before = net.back.mapper.live_pages
    statuses = net.statuses(slots)
    assert set(statuses) <= set(REFUSED)
    assert net.wire_out.frames() == []
    works(net)
    assert net.back.mapper.live_pages <= before + 8
    net.served()


def test_pages_of_the_ring_itself(net: Attacked) -> None:
    """The ring as a frame, and as a buffer for one: it hurts itself only, and is told so.

    Red when what the ring refuses is not caught, or when the page is not granted to be read.
    """
    net.enter()
    net.raw.transmit([tx_request(net.raw.ring_refs[0], 0, 0, 1, 200)])
    net.rest()
    [frame] = net.wire_out.frames()
    assert len(frame) == 200
    net.raw.rx[0].put(struct.pack("<HHI", 0, 0, net.raw.ring_refs[0]))
    net.raw.rx[0].publish(REQ_PROD)
    net.raw.ring_bell()
    net.rest()
    net.wire_out.send(b"\xff" * 1500)
    net.rest()
    net.raw.ring_bell()
    assert "out of range" in " ".join(net.given_up())
    net.served()


@pytest.mark.parametrize("ref", [0, 1, 4000, 32768, 0xFFFFFFFF])
def test_a_buffer_that_is_not_granted(net: Attacked, ref: int) -> None:
    """The frame is lost to its own guest; the next good buffer gets the next frame.

    Red when the refusal of the mapping is not caught.
    """
    net.enter()
    net.raw.rx[0].put(struct.pack("<HHI", 0, 0, ref))
    net.raw.posted[0].append(0)
    net.raw.rx[0].publish(REQ_PROD)
    net.raw.ring_bell()
    net.rest()
    net.wire_out.send(FRAME)
    responses: list[bytes] = []

    def answered() -> bool:
        responses.extend(net.raw.arrived())
        return bool(responses)

    net.run(answered, "a response")
    assert struct.unpack("<HHHh", responses[0])[3] < 0
    net.raw.posted[0].clear()
    net.raw.post(4, first=8)
    net.rest(2)
    net.wire_out.send(FRAME[::-1])
    net.run(lambda: FRAME[::-1] in net.raw.received(), "the next frame")
    net.served()


def test_a_buffer_that_is_not_granted_before_good_ones(net: Attacked) -> None:
    """With enough of them a frame is read into the pages themselves: the others come back as well.

    Red when the refusal of the mapping is not caught there.
    """
    net.enter(feature_persistent=1)
    net.raw.rx[0].put(struct.pack("<HHI", 0, 0, 4000))
    net.raw.posted[0].append(0)
    net.raw.post(24, first=8)
    net.rest()
    net.wire_out.send(FRAME)
    responses: list[bytes] = []

    def answered() -> bool:
        responses.extend(net.raw.arrived())
        return bool(responses)

    net.run(answered, "a response")
    assert struct.unpack("<HHHh", responses[0])[3] < 0
    assert net.state(net.path) == "4"
    net.served()


def test_a_buffer_that_is_read_only(net: Attacked) -> None:
    """A frame is never written into a page that was granted for reading."""
    net.enter()
    extent = net.villain.memory.allocate(1)
    ref = net.villain.grants.grant(net.back.domid, extent.gfn(0), readonly=True)
    net.raw.rx[0].put(struct.pack("<HHI", 0, 0, ref))
    net.raw.rx[0].publish(REQ_PROD)
    net.raw.ring_bell()
    net.rest()
    net.wire_out.send(FRAME)
    net.rest(60)
    assert bytes(extent.page(0)) == bytes(PAGE)
    net.served()


def test_what_is_done_is_let_go(net: Attacked) -> None:
    """A grant may be ended as soon as its request was answered, and once the device has gone
    every one of them.

    Red when pages stay mapped after their frame.
    """
    net.enter()
    for number in range(300):
        assert net.statuses(net.raw.frame(FRAME, page=number % 16)) == [OKAY]
    net.write(f"{net.path}/online", "0")
    net.publish(net.villain, {}, "6")
    net.run(lambda: net.state(net.path) in ("6", None), "closed")
    net.rest()
    assert net.villain.grants.end_access_many([*net.raw.refs, *net.raw.ring_refs]) == []
    net.served()


def test_a_new_backend_reaches_nothing_that_was_the_dead_ones(net: Attacked) -> None:
    """Attack family (i): references and ports belong to one domid for life."""
    net.enter()
    new = net.domain()
    for ref in (*net.raw.ring_refs, *net.raw.refs[:4]):
        with pytest.raises(GrantError):
            new.mapper.map(net.villain.domid, ref)
    with pytest.raises(HypercallError):
        new.events.bind_interdomain(net.villain.domid, net.raw.ports[0])
    with pytest.raises(GrantInUse):
        net.villain.grants.end_access(net.raw.ring_refs[0])
    net.served()


# -- (a) flip after check, (b) index warp, leaks ------------------------------------------------


def test_slots_that_change_while_they_are_read(net: Attacked) -> None:
    """XSA-155: another processor writes the size, the offset and the flags of a slot all the time.

    A frame that comes out is as long as one of the two sizes, never a mixture; the domain lives.
    """
    net.enter()
    good, bad = one(net, 60), tx_request(net.raw.refs[0], 4000, TX_MORE, 1, 0xFFFF)
    ring = net.raw.tx[0]
    # Every slot of the ring, so that whichever comes next is being written.
    view = ring.page[RING_BYTES : RING_BYTES + SLOTS * 12]
    whole = (good * SLOTS, bad * SLOTS)

    def flip() -> None:
        view[:] = whole[1]
        view[:] = whole[0]

    with flipping(flip):
        for _ in range(300):
            ring.prod += 1
            ring.publish(REQ_PROD)
            net.raw.ring_bell()
            net.turn(0.0)
            assert {len(frame) for frame in net.wire_out.frames()} <= {60}
            if net.state(net.path) != "4":
                break
    view.release()
    net.served()


@pytest.mark.parametrize("ahead", [SLOTS + 1, 1000, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("ring", ["tx", "rx"])
def test_an_index_out_of_range(net: Attacked, ring: str, ahead: int) -> None:
    """A producer index that no honest frontend can have costs it its device, with a word why.

    Red when the ring's refusal is not caught.
    """
    net.enter()
    net.rest()
    (net.raw.tx if ring == "tx" else net.raw.rx)[0].publish(REQ_PROD, ahead)
    net.raw.ring_bell()
    net.wire_out.send(FRAME)
    net.given_up()
    assert net.back.mapper.live_pages <= 2 + 64, "the villain's rings are let go of"
    net.served()


def test_responses_carry_no_old_bytes(net: Attacked) -> None:
    """XSA-216: four bytes of a TX response and no more are written into the shared slot."""
    net.enter()
    net.raw.tx[0].page[RING_BYTES:] = b"\xee" * (PAGE - RING_BYTES)
    request = one(net, 60, ident=0x1234)
    assert net.statuses([request]) == [OKAY]
    slot = net.raw.tx[0].at(0, 12)
    assert slot[:4] == struct.pack("<Hh", 0x1234, 0)
    assert slot[4:] == request[4:]


def test_a_frame_brings_its_own_bytes_only(net: Attacked) -> None:
    """XSA-216: what lies behind a frame in the guest's page is the guest's."""
    net.enter()
    net.raw.data.view[:] = b"\xee" * len(net.raw.data.view)
    net.raw.post(4)
    net.rest(2)
    net.wire_out.send(FRAME)
    net.run(lambda: net.raw.received() == [FRAME], "the frame")
    page = bytes(net.raw.data.page(0))
    start = page.index(FRAME)
    assert page[:start] == b"\xee" * start
    assert page[start + len(FRAME) :] == b"\xee" * (PAGE - start - len(FRAME))


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
    for _ in range(3000):
        net.raw.ring_bell()
        if net.back.vcpu.block(0):
            net.back.vcpu.dispatch()
    woken = 0
    for _ in range(200):
        net.raw.ring_bell()
        if net.back.vcpu.block(0):
            woken += 1
            net.back.vcpu.dispatch()
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
