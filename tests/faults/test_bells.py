"""Each fault of a doorbell, fired by a rule, and heard (or not) at the far end.

Seen red: with `Wires._carry` that rings whatever the rules say (all but the storm), with
`Bells._join` that joins both ways (a rule of one), without what is held in `Seams.insert` (rules of
a device), with storms that do not begin, and with what is held back and never let go.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from hvsim.abi.blkif import BLKIF_RSP_OKAY
from hvsim.abi.hypercall import HVSIM_OP_fault_cover, HYPERVISOR_hvsim_op
from hvsim.domain.domain import Domain
from hvsim.drivers.block.request import READ
from tests.domain.pairs import two_domains
from tests.drivers.blockrig import VDEV, Rig, a_disk_and_its_domains
from tests.faults.breaking import Breaker
from tests.support.hv import Hypervisor, turn
from tests.support.waits import wait

__all__ = ["a_disk_and_its_domains", "two_domains"]


class Channels:
    """Two channels between two domains, and who breaks them."""

    def __init__(self, hv: Hypervisor, one: Domain, two: Domain) -> None:
        self.domains = one, two
        self.breaker = Breaker(hv, one, two)
        self.heard: list[str] = []
        self.ports: dict[str, int] = {}
        for name in ("a", "b"):
            port = one.events.alloc_unbound(two.domid, partial(self.hear, f"back {name}"))
            two.events.bind_interdomain(one.domid, port, partial(self.hear, name))
            self.ports[name] = port
        self.until(
            lambda: len(self.heard) == 2 * len(self.ports), "both ends rung as they are bound"
        )
        self.heard.clear()

    def hear(self, name: str) -> None:
        self.heard.append(name)

    def until(self, there: Callable[[], bool], what: str) -> None:
        """Both take their turns until it is *there*."""

        def look() -> bool:
            turn(self.domains, 0.005)
            return there()

        wait(look, what)

    def settle(self, seconds: float = 0.05) -> list[str]:
        """What is heard by both until it has been quiet for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            before = len(self.heard)
            turn(self.domains, 0.005)
            if len(self.heard) > before:
                end = time.monotonic() + seconds
        heard, self.heard = self.heard, []
        return heard

    def add(self, target: str, *words: str) -> int:
        number = self.breaker.add(target, *words)
        self.settle()
        return number

    def ring(self, name: str) -> None:
        self.domains[0].events.notify(self.ports[name])


@pytest.fixture
def channels(hv: Hypervisor, pair: tuple[Domain, Domain]) -> Iterator[Channels]:
    made = Channels(hv, *pair)
    yield made
    made.breaker.clear()


def test_lost(channels: Channels) -> None:
    number = channels.add("guest -> back", "bell.drop=100%", "after=1", "times=1")
    for wanted in (["a"], [], ["a"]):
        channels.ring("a")
        assert channels.settle(0.3) == wanted, (
            "what was lost stays lost, also when the rule is spent"
        )
    assert len(channels.breaker.fired(number)) == 1
    assert channels.breaker.fired(number)[0].endswith(": lost")


def test_one_way_and_both(channels: Channels) -> None:
    number = channels.add("back -> guest", "bell.drop=100%")
    channels.ring("a")
    assert channels.settle() == ["a"]
    channels.breaker.remove(number)
    channels.add("back <-> guest", "bell.drop=100%")
    channels.ring("a")
    assert channels.settle() == []


def test_late(channels: Channels) -> None:
    channels.add("guest <-> back", "bell.delay=80ms", "nth=1")
    began = time.monotonic()
    channels.ring("a")
    channels.until(lambda: bool(channels.heard), "the one that is late")
    assert time.monotonic() - began >= 0.08


def test_what_is_late_comes_when_the_rule_goes(channels: Channels) -> None:
    number = channels.add("guest -> back", "bell.delay=50s")
    channels.ring("a")
    assert channels.settle() == []
    channels.breaker.remove(number)
    assert "a" in channels.settle()


def test_twice(channels: Channels) -> None:
    number = channels.add("guest -> back", "bell.duplicate=100%")
    for _ in range(30):  # who is late to look hears both as one
        channels.ring("a")
        heard = channels.settle()
        if heard == ["a", "a"]:
            break
        assert heard == ["a"]
    else:
        raise AssertionError("never twice")
    assert channels.breaker.fired(number)[0].endswith(": once more")


def test_after_the_next_one(channels: Channels) -> None:
    channels.add("guest -> back", "bell.reorder=100%")
    for _ in range(30):  # on a machine that is slow the first may have waited too long
        channels.ring("a")
        channels.domains[1].vcpu.block(0.02)
        channels.ring("b")
        if channels.settle(0.2) == ["b", "a"]:
            break
    else:
        raise AssertionError("never after the next one")


def test_without_a_next_one_it_comes_all_the_same(channels: Channels) -> None:
    channels.add("guest -> back", "bell.reorder=100%")
    channels.ring("a")
    assert channels.settle(0.5) == ["a"]


def test_a_storm_rings_without_a_cause(channels: Channels) -> None:
    number = channels.breaker.add("guest -> back", "bell.storm=200/s", "times=5")
    channels.until(lambda: len(channels.breaker.fired(number)) == 5, "five without a cause")
    assert set(channels.settle()) == {"a", "b"}, "one channel after the other"
    assert len(channels.breaker.fired(number)) == 5
    assert all(text.endswith("without a cause") for text in channels.breaker.fired(number))


def test_a_rule_ends_by_itself(channels: Channels) -> None:
    channels.add("guest -> back", "bell.drop=100%", "for=100ms")
    channels.until(lambda: channels.breaker.standing() == [], "the end of its time")
    channels.settle()
    channels.ring("a")
    assert channels.settle() == ["a"]


class Disk:
    """A disk that is connected, and who breaks its doorbells."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.back = rig.domain(vbd={"spin": False})
        rig.guest.args["vbd"] = {"spin": False}
        self.disk = rig.start(self.back)
        self.breaker = Breaker(rig.hv, rig.guest, self.back, ("vbd", VDEV, "xvda"))

    def add(self, *words: str) -> int:
        number = self.breaker.add("guest/xvda", *words)
        for _ in range(50):
            turn(self.rig.live, 0.001)
        return number


@pytest.fixture
def disk(rig: Rig) -> Iterator[Disk]:
    made = Disk(rig)
    yield made
    made.breaker.clear()


@pytest.mark.parametrize("half", ["front", "back"])
def test_a_device_hangs_when_its_bell_is_lost(disk: Disk, half: str) -> None:
    """Each half names its port, and what it lost is made good when the rule goes."""
    number = disk.add("bell.drop=100%", f"from={half}")
    request = disk.disk.submit(READ, 0, 1)
    for _ in range(100):
        turn(disk.rig.live, 0.001)
    assert not request.done
    [text] = disk.breaker.fired(number)
    sender = disk.rig.guest if half == "front" else disk.back
    assert text.startswith(f"vbd {VDEV}, d{sender.domid} port ")
    disk.breaker.remove(number)
    disk.rig.run(lambda: request.done, "the request: who goes direct again rings")
    assert request.status == BLKIF_RSP_OKAY


def test_a_device_of_which_both_bells_are_late(disk: Disk) -> None:
    number = disk.add("bell.delay=30ms")
    began = time.monotonic()
    assert disk.rig.do(READ, 0, 1).status == BLKIF_RSP_OKAY
    assert time.monotonic() - began >= 0.06
    ports = {text.split(" -> ")[0] for text in disk.breaker.fired(number)}
    assert len(ports) == 2


def test_another_device_is_left_alone(disk: Disk) -> None:
    disk.breaker.domains[0]["devices"][0]["devid"] = VDEV + 16
    disk.add("bell.drop=100%")
    assert disk.rig.do(READ, 0, 1).status == BLKIF_RSP_OKAY


def test_a_port_that_is_named_twice_is_covered_once(disk: Disk) -> None:
    """Red when each is put down: the rule went on after it was taken away."""
    rule = disk.breaker.rule("guest/xvda", "bell.duplicate=100%", "from=front")
    number = disk.breaker.enter_rule(rule)
    call, [port] = disk.rig.guest.hypercall.call, disk.rig.guest.events.ports()[-1:]
    call(HYPERVISOR_hvsim_op, HVSIM_OP_fault_cover, number, True, "", [port, port])
    assert disk.rig.do(READ, 0, 1).status == BLKIF_RSP_OKAY
    disk.breaker.remove(number)
    before = len(disk.breaker.fired(number))
    for _ in range(5):
        assert disk.rig.do(READ, 0, 1).status == BLKIF_RSP_OKAY
    assert before
    assert len(disk.breaker.fired(number)) == before
