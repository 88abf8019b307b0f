"""The raw halves of a vif against each other: what the attack tests stand on works."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.drivers.netrig import NetRig
from tests.drivers.rawnet import TX_EXTRA, RawBack, RawFront, extra_gso
from tests.support.hv import Hypervisor


@pytest.fixture
def rig(hv: Hypervisor) -> Iterator[NetRig]:
    made = NetRig(hv)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("queues", [1, 2])
def test_frames_go_both_ways(rig: NetRig, split: bool, queues: int) -> None:
    guest, back = rig.domain(), rig.domain()
    front = RawFront(guest, back.domid, queues, split=split)
    rig.closing.append(front.close)
    for queue in range(queues):
        half = RawBack(back, guest.domid, front.keys(), queue)
        small, large = bytes(range(60)), bytes(range(256)) * 40
        front.transmit(front.frame(small, ident=3), queue)
        slots = front.frame(large, page=4, ident=7, flags=TX_EXTRA)
        front.transmit([slots[0], extra_gso(1448), *slots[1:]], queue)
        assert half.sent_frames() == [small, large]
        half.ring_bell()
        assert front.answers(queue) == [(3, 0), (7, 0), (0, 1), (8, 0), (9, 0)]
        front.post(8, queue, first=20)
        half.deliver(small)
        half.deliver(large[:4096])
        assert front.received(queue) == [small, large[:4096]]
        rig.run(lambda half=half: half.bells > 0 and front.bells > 0, "bells")  # type: ignore[misc]
        front.bells = 0
        half.close()


def test_a_wire_carries_whole_frames(rig: NetRig) -> None:
    wire = rig.wire("vif1.0")
    frames = [bytes([n]) * size for n, size in enumerate((14, 1514, 65549))]
    for frame in frames:
        assert wire.send(frame)
    assert [os.read(wire.fd, 1 << 17)[10:] for _ in frames] == frames
    with pytest.raises(BlockingIOError):
        os.read(wire.fd, 1 << 17)
    os.write(wire.fd, bytes(10) + frames[2])
    assert wire.frames() == [frames[2]]
    assert wire.frames() == []
