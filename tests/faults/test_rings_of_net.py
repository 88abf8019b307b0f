"""Each fault of the rings of a vif, by either half, and what the other half makes of it.

Seen red: each with a `Half` of its kind that passes everything on; the recoveries with drivers that
do not seat their rings anew.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.drivers.netrig import Wire
from tests.drivers.test_net_pair import ETHERNET, Pair
from tests.faults.breakable import Breakable
from tests.faults.breaking import Breaker
from tests.support.hv import Hypervisor

MANY = 600
"""Frames that do not fit into a ring."""


def frame(number: int = 0) -> bytes:
    return ETHERNET + b"\x12\x34" + number.to_bytes(4, "big") * 12


class Broken(Breakable, Pair):
    """A vif that is connected, and who breaks its rings."""

    def __init__(self, hv: Hypervisor) -> None:
        super().__init__(hv)
        self.up()
        self.target = "guest/eth0"
        self.breaker = Breaker(hv, self.guest, self.back, ("vif", 0, "eth0"))

    def passes(self, source: Wire, sink: Wire, count: int = 1) -> list[bytes]:
        """What comes out of so many frames."""
        for number in range(count):
            source.send(frame(number))
        came: list[bytes] = []
        for _ in range(4):
            self.rest()
            came += sink.frames()
        return came

    def out(self, count: int = 1) -> list[bytes]:
        """Out of the guest."""
        return self.passes(self.near, self.far, count)

    def into(self, count: int = 1) -> list[bytes]:
        """Into the guest."""
        return self.passes(self.far, self.near, count)

    def disabled(self, why: str) -> None:
        """The frontend has given up its device, and says why."""
        self.run(lambda: self.nic.dead is not None, "the device disabled")
        assert why in str(self.nic.dead)
        assert any(why in text for text in self.errors(self.guest))

    def ended(self, why: str) -> None:
        """The backend has ended this device, and says why."""
        self.run(lambda: bool(self.errors(self.back)), "the backend's error")
        [text] = self.errors(self.back)
        assert text.startswith("13 fatal error; disabling device")
        assert why in text
        assert self.driver.queues == []


@pytest.fixture
def broken(hv: Hypervisor) -> Iterator[Broken]:
    rig = Broken(hv)
    yield rig
    rig.close()


# -- of the backend ------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["tx", "rx"])
def test_a_warped_index_costs_the_frontend_its_device(broken: Broken, which: str) -> None:
    number = broken.add("ring=warp", "by=300", "nth=2", f"which={which}")
    passes = broken.out if which == "tx" else broken.into
    assert passes() == [frame()]
    passes()
    broken.disabled("is out of range")
    assert broken.breaker.fired(number) == ["producer index 2 published as +300 from there"]


def test_an_answer_of_other_bytes(broken: Broken) -> None:
    broken.add("ring=corrupt", "at=0..1")
    assert broken.out() == [frame()], "it was sent all the same"
    broken.disabled("which is not out")


def test_a_frame_that_is_said_to_have_failed(broken: Broken) -> None:
    """The status of a response: counted, and dropped."""
    broken.add("ring=corrupt", "at=6..7", "which=rx", "times=1", "seed=2")
    assert broken.into() == []
    figures = broken.nic.statistics()
    assert any(name.startswith("rx_error_") and number for name, number in figures.items())
    assert broken.into() == [frame()]


def test_a_published_answer_flips(broken: Broken) -> None:
    number = broken.add("ring=flip", "at=0..1", "times=1")
    broken.out()
    assert broken.breaker.fired(number) == ["bytes 0 to 1 of slot 0 flip"]
    broken.run(
        lambda: broken.nic.dead is not None or broken.nic.queues[0].tx.ring.free == 256,
        "the answer, or the end of the device",
    )


@pytest.mark.parametrize("which", ["tx", "rx"])
def test_nothing_is_consumed_while_the_rule_stands(broken: Broken, which: str) -> None:
    """Frames wait in the rings, and in the link before them; what the guest has posted before is
    the backend's already."""
    number = broken.add("ring=stop", f"which={which}")
    passes = broken.out if which == "tx" else broken.into
    came = passes(MANY)
    posted = 0 if which == "tx" else 256
    assert len(came) <= posted
    assert broken.breaker.fired(number)[0] == "requests not consumed"
    broken.breaker.remove(number)
    sink = broken.far if which == "tx" else broken.near

    def all_there() -> bool:
        came.extend(sink.frames())
        return len(came) >= MANY - 1

    broken.run(all_there, "the frames, once the rule is gone")
    assert passes() == [frame()]


def test_answers_that_never_come_fill_the_ring(broken: Broken) -> None:
    number = broken.add("answer=never")
    assert len(broken.out(MANY)) == 256 - 18, "room for the largest frame is kept"
    assert broken.driver.statistics()["rx_packets"] == 256 - 18
    broken.breaker.remove(number)
    came: list[bytes] = []

    def all_there() -> bool:
        came.extend(broken.far.frames())
        return len(came) >= 256

    broken.run(all_there, "the frames behind, once the rule is gone")
    assert broken.out()[-1:] == [frame()]


def test_a_frame_that_is_never_told_of(broken: Broken) -> None:
    """The frames behind it come in its place, each later by one, until the rule is gone."""
    number = broken.add("answer=never", "which=rx", "nth=1")
    assert broken.into(3) == [frame(0), frame(1)]
    broken.remove(number)
    broken.rest()
    assert broken.near.frames() == [frame(2)]


@pytest.mark.parametrize("count", [1, 20])
def test_answered_twice(broken: Broken, count: int) -> None:
    broken.add("answer=twice", "nth=1")
    broken.out(count)
    broken.run(lambda: broken.nic.dead is not None, "the device disabled")


def test_a_frame_that_comes_twice_is_one_of_nobody(broken: Broken) -> None:
    """A page that was posted and not written: zeros, since it never held anything else."""
    broken.add("answer=twice", "which=rx", "nth=1")
    assert broken.into() == [frame(), bytes(len(frame()))]
    assert broken.nic.dead is None


def test_an_answer_to_nobody(broken: Broken) -> None:
    broken.add("answer=unknown", "after=1")
    assert broken.out() == [frame()]
    assert broken.nic.dead is None
    broken.out(MANY)  # answers are looked at when there is no room
    broken.disabled("which is not out")


def test_what_a_vif_does_not_have(broken: Broken) -> None:
    for words, why in (
        (("answer=unknown", "which=rx"), "known by their place"),
        (("answer=wrong-op",), "vif: its answers name no operation"),
    ):
        number = broken.add(*words)
        assert why in broken.trouble()
        broken.remove(number)


# -- of the frontend -----------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["tx", "rx"])
def test_a_frontend_that_warps_its_index_loses_its_device(broken: Broken, which: str) -> None:
    broken.add("ring=warp", "half=front", "by=300", f"which={which}")
    broken.out() if which == "tx" else broken.into()
    broken.ended("request producer index")


def test_a_request_of_other_bytes(broken: Broken) -> None:
    """Its grant: none that it gave."""
    broken.add("ring=corrupt", "half=front", "at=0..3", "times=1")
    assert broken.out() == []
    assert broken.driver.statistics()["rx_error_bad_grant"] == 1
    assert broken.nic.statistics()["tx_error_backend_error"] == 1
    assert broken.out() == [frame()]


def test_a_request_that_flips_is_copied_once(broken: Broken) -> None:
    """Its length: sent as one or the other, or refused; either way the backend goes on."""
    number = broken.add("ring=flip", "half=front", "at=10..10", "times=4")
    broken.out(4)
    assert len(broken.breaker.fired(number)) == 4
    assert broken.driver.queues, "the device goes on"
    broken.remove(number)
    assert broken.out()[-1:] == [frame()]


@pytest.mark.parametrize("which", ["tx", "rx"])
def test_a_frontend_that_takes_no_answers(broken: Broken, which: str) -> None:
    number = broken.add("ring=stop", "half=front", f"which={which}")
    passes = broken.out if which == "tx" else broken.into
    came = passes(MANY)
    assert len(came) == (256 - 18 if which == "tx" else 0)
    broken.breaker.remove(number)
    sink = broken.far if which == "tx" else broken.near

    def all_there() -> bool:
        came.extend(sink.frames())
        return len(came) >= 256

    broken.run(all_there, "the frames, once the rule is gone")
    assert passes()[-1:] == [frame()]


# -- what it costs -------------------------------------------------------------------------------


def test_the_rings_are_the_rings_when_the_rules_are_gone(broken: Broken) -> None:
    queue, front = broken.driver.queues[0], broken.nic.queues[0]
    before = [queue.tx.ring, queue.rx.ring, front.tx.ring, front.rx.ring]
    numbers = [
        broken.add("ring=stop", "after=1000", f"half={half}", f"which={which}")
        for half in ("back", "front")
        for which in ("tx", "rx")
    ]
    during = [queue.tx.ring, queue.rx.ring, front.tx.ring, front.rx.ring]
    assert all(one is not other for one, other in zip(before, during, strict=True))
    for number in numbers:
        broken.remove(number)
    assert [queue.tx.ring, queue.rx.ring, front.tx.ring, front.rx.ring] == before
    assert broken.out() == broken.into() == [frame()]
