"""Hostile frontends of a vif: references and pages; what changes or stays behind in them."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator

import pytest

from hvsim.domain.grants import GrantInUse
from hvsim.domain.hypercall import HypercallError
from hvsim.domain.mapper import GrantError
from tests.drivers.netrig import flipping
from tests.drivers.rawnet import (
    OKAY,
    PAGE,
    REQ_PROD,
    RING_BYTES,
    SLOTS,
    TX_MORE,
    tx_request,
)
from tests.drivers.villain_front import FRAME, REFUSED, Attacked, one, works
from tests.support.hv import Hypervisor


@pytest.fixture
def net(hv: Hypervisor) -> Iterator[Attacked]:
    with contextlib.closing(Attacked(hv)) as made:
        yield made


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
