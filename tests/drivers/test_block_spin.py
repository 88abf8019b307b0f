"""A read that looks for its answer instead of sleeping must leave nobody asleep.

The domain here sleeps for real: `wait` lets the backend work and goes on only when the backend
rang the bell.  A backend that has answered without ringing, because nobody had asked it to, is a
lost wake-up, and is told at once instead of after `io_timeout`.  (A bell that rang before does not
count: in a domain it may still be pending and save the day, or not.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from hvsim.domain import Domain
from hvsim.domain.ring import FrontRing
from hvsim.drivers.block.disk import Disk
from hvsim.drivers.block.features import spins
from hvsim.drivers.block.protocol import Features, pack_response
from hvsim.drivers.block.request import READ, WRITE, Request
from hvsim.drivers.split.halt_poll import HaltPoll
from tests.drivers.loopback import Loopback

SECTORS = 2048
PAGE = 8


class Sleeper:
    """The domain: its one wait, and its events."""

    def __init__(self, loop: Loopback) -> None:
        self.loop = loop
        self.args: dict[str, object] = {}
        self.woken: Callable[[], None] = lambda: None
        self.events = self
        self.sleeps = 0

    def notify(self, _port: int) -> None:
        """The backend is asked for in `wait`; it needs no bell."""

    def wait(self, pred: Callable[[], bool], _timeout: float, what: str) -> None:
        while not pred():
            self.sleeps += 1
            heard = self.loop.bells
            self.loop.back()
            assert self.loop.bells > heard, f"a lost wake-up: asleep for {what}"
            self.woken()


class Spun(Disk):
    """A disk over a loopback, whose looks for an answer are the test's to direct."""

    def __init__(self, loop: Loopback) -> None:
        self.dom = Sleeper(loop)
        self.broken: list[str] = []
        dom = cast(Domain, self.dom)
        super().__init__(dom, -1, broken=self.broken.append, queue=loop.queue)
        self.dom.woken = self.look
        self.features = Features(sectors=SECTORS, flush=True)
        self._connected = True
        self.found: Callable[[], bool] = self.answered
        self._queue.ring_spin = lambda _nanoseconds: self.found()

    def answered(self) -> bool:
        """The backend answers all while somebody looks."""
        self.dom.loop.back()
        return True


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Spun]:
    image = tmp_path / "image"
    image.write_bytes(b"".join(bytes([n % 251]) * 512 for n in range(SECTORS)))
    loop = Loopback(image, sectors=SECTORS)
    disk = Spun(loop)
    disk.look()  # a new connection has asked to be woken
    yield disk
    assert not disk.broken
    loop.close()


def content(sector: int, count: int = PAGE) -> bytes:
    """What the image holds."""
    return b"".join(bytes([n % 251]) * 512 for n in range(sector, sector + count))


SLEEPS: dict[str, Callable[[Spun], Any]] = {
    "submit": lambda disk: disk.submit(READ, 16, PAGE).wait(),
    "two requests": lambda disk: [
        one.wait() for one in (disk.submit(READ, 16, PAGE), disk.submit(READ, 32, PAGE))
    ],
    "readinto": lambda disk: disk.readinto(16, bytearray(PAGE * 512)),
    "write": lambda disk: disk.write(16, bytes(512)),
    "flush": lambda disk: disk.flush(),
    "read": lambda disk: disk.read(16, PAGE),
}


@pytest.mark.parametrize("how", SLEEPS)
def test_who_sleeps_after_a_look_is_woken(disk: Spun, how: str) -> None:
    assert disk.read(8, PAGE) == content(8)
    assert disk.dom.sleeps == 0, "the read was to find its answer by looking"
    disk.found = lambda: False
    SLEEPS[how](disk)
    assert disk.dom.sleeps, "this was to sleep"


def test_a_request_that_nobody_waits_for_yet_is_heard_of(disk: Spun) -> None:
    """It was submitted after a look; whoever watches `done` runs the domain's loop alone."""
    disk.read(8, PAGE)
    pending = disk.submit(READ, 16, PAGE)
    disk.dom.wait(lambda: pending.done, 1.0, "a request")
    assert pending.result() == content(16)


def test_a_look_that_finds_one_answer_asks_for_the_others(disk: Spun) -> None:
    """A backend may answer out of order: the read, but not the write that came before it."""
    pending = disk.submit(WRITE, 64, data=bytes(512))
    ring = disk.dom.loop.back_ring
    kept: list[bytes] = []

    def second_first() -> bool:
        kept.append(ring.consume() or b"")
        number = int.from_bytes((ring.consume() or b"")[8:16], "little")
        ring.produce(pack_response(number, READ, 0))
        ring.push()
        return True

    disk.found = second_first
    disk.read(8, PAGE)
    assert disk.dom.sleeps == 0
    assert not pending.done
    ring.produce(pack_response(int.from_bytes(kept[0][8:16], "little"), WRITE, 0))
    assert ring.push(), "nobody has asked the backend to ring for the write"
    disk.dom.woken()
    assert pending.done


def test_looks_in_vain_become_rare(disk: Spun) -> None:
    looks = 0

    def vain() -> bool:
        nonlocal looks
        looks += 1
        return False

    disk.found = vain
    for _ in range(300):
        disk.read(8, PAGE)
    assert 0 < looks <= 9
    disk.found = disk.answered
    for _ in range(1100):
        disk.read(8, PAGE)
    sleeps = disk.dom.sleeps
    disk.read(8, PAGE)
    assert disk.dom.sleeps == sleeps, "a look that found its answer makes all the next ones worth"


def test_a_disk_that_is_not_to_spin_always_sleeps(disk: Spun, tmp_path: Path) -> None:
    """Both halves, with ``vbd = { spin = false }``.  Red when HaltPoll forgets what it was told."""
    assert spins({})
    assert spins({"vbd": {"persistent": True}})
    assert not spins({"vbd": {"spin": False}})
    disk.halt_poll = HaltPoll(spins({"vbd": {"spin": False}}))
    for _ in range(20):
        disk.read(8, PAGE)
    assert disk.dom.sleeps == 20
    loop = Loopback(tmp_path / "other", sectors=SECTORS, spins=False)
    loop.service.spin = lambda _nanoseconds: pytest.fail("the backend was not to look")
    assert loop.queue.submit(Request(READ, 8, PAGE))
    assert not loop.back()
    loop.close()


def test_the_compiled_ring_sees_an_answer_and_gives_up_without_one(tmp_path: Path) -> None:
    """The pure ring never looks: it would hold the processor that the backend needs."""
    loop = Loopback(tmp_path / "image", sectors=SECTORS)
    assert not loop.queue.spin(1000)
    loop.queue.submit(Request(READ, 8, PAGE))
    loop.back()
    assert loop.queue.spin(10**9) is hasattr(FrontRing, "spin")
    loop.queue.complete()
    assert not loop.queue.spin(1000)
    loop.close()


def test_a_backend_that_looks_needs_no_bell_and_asks_for_one_before_it_sleeps(
    tmp_path: Path,
) -> None:
    loop = Loopback(tmp_path / "image", sectors=SECTORS)
    loop.queue.complete()
    first, second, third = (Request(READ, 8 * n, PAGE) for n in range(3))
    bells: list[bool] = []

    def look(_nanoseconds: int) -> bool:
        if not bells:
            bells.append(loop.queue.submit(second))
            return True
        return False

    loop.service.spin = look
    assert loop.queue.submit(first)
    assert not loop.back()
    assert bells == [False], "who is looked for need not ring"
    loop.queue.complete()
    assert first.done
    assert second.done
    assert loop.queue.submit(third), "the backend sleeps and must be rung for"
    loop.back()
    loop.queue.complete()
    loop.close()


def test_looks_are_rarer_after_each_that_was_in_vain_and_never_stop() -> None:
    looks = HaltPoll()
    gaps = []
    for _ in range(12):
        looks.missed()
        gap = 0
        while not looks.due():
            gap += 1
        gaps.append(gap)
    assert gaps == [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024, 1024]
    looks.hit()
    assert looks.due()
    looks.missed()
    assert not looks.due()
