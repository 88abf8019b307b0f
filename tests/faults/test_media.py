"""Each fault of a medium, fired by a rule, and seen by the guest or in the image.

Seen red: with `BrokenMedium.read` and `write` that pass everything on, every test of its kind; with
`_hits` that looks at neither `op` nor `sector`, those of the two words.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from hvsim.abi.blkif import BLKIF_RSP_ERROR, BLKIF_RSP_OKAY
from hvsim.domain.domain import Domain
from hvsim.domain.injection import Fault
from hvsim.drivers.block.image import Medium
from hvsim.drivers.block.request import BARRIER, FLUSH, READ, WRITE
from hvsim.faults.inject.media import LosesFlushes
from tests.drivers.blockrig import VDEV, Rig, a_disk_and_its_domains
from tests.faults.breaking import Breaker
from tests.support.hv import turn

__all__ = ["a_disk_and_its_domains"]

OKAY, ERROR = BLKIF_RSP_OKAY, BLKIF_RSP_ERROR


class Broken:
    """A disk that is connected, and who breaks it."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.back: Domain = rig.domain()
        rig.start(self.back)
        self.breaker = Breaker(rig.hv, rig.guest, self.back, ("vbd", VDEV, "xvda"))

    def add(self, *words: str, target: str = "guest/xvda") -> int:
        number = self.breaker.add(target, *words)
        self.rig.do(READ, 0, 1)  # the domain that serves has had its turn; no rule here fires on it
        return number


@pytest.fixture
def broken(rig: Rig) -> Iterator[Broken]:
    made = Broken(rig)
    yield made
    made.breaker.clear()


def test_eio_of_the_requests_that_are_named(broken: Broken) -> None:
    do = broken.rig.do
    number = broken.add("media=eio", "op=write", "sector=64..71", "after=1", "times=2")
    data = os.urandom(4096)
    assert do(WRITE, 64, data=data).status == OKAY, "the first passes"
    assert do(WRITE, 64, data=data).status == ERROR
    assert do(READ, 64, 8).result() == data
    assert do(WRITE, 72, data=data).status == OKAY, "another sector"
    assert do(WRITE, 71, data=data[:512]).status == ERROR, "the last sector of the range"
    assert do(WRITE, 64, data=data).status == OKAY, "two times"
    assert broken.breaker.fired(number) == ["write at sector 64: EIO", "write at sector 71: EIO"]
    [standing] = broken.breaker.standing()
    assert (standing.rule.number, standing.rule.fired) == (number, 2)
    assert standing.last == "write at sector 71: EIO"


def test_a_rule_that_is_removed_breaks_nothing(broken: Broken) -> None:
    number = broken.breaker.add("guest/xvda", "media=eio")
    broken.rig.run(lambda: broken.rig.do(READ, 0, 1).status == ERROR, "the rule in place")
    broken.breaker.remove(number)
    broken.rig.run(lambda: broken.rig.do(READ, 0, 1).status == OKAY, "the rule gone")


def test_a_rule_of_the_whole_domain(broken: Broken) -> None:
    broken.add("media=eio", "op=flush", target="back")
    assert broken.rig.do(FLUSH).status == ERROR


def test_a_rule_about_another_guest_does_not_fire(broken: Broken) -> None:
    broken.breaker.domains[0]["devices"][0]["devid"] = VDEV + 16
    broken.add("media=eio")
    assert broken.rig.do(READ, 0, 1).status == OKAY


def test_full(broken: Broken) -> None:
    number = broken.add("media=full")
    assert broken.rig.do(WRITE, 8, data=bytes(512)).status == ERROR
    assert broken.rig.do(READ, 8, 1).status == OKAY
    assert broken.breaker.fired(number) == [f"write at sector 8: {errno.errorcode[errno.ENOSPC]}"]


def test_slow_delays_the_request_and_those_behind_it_in_order(broken: Broken) -> None:
    rig = broken.rig
    broken.add("media=slow", "by=60ms", "op=write", "times=1")
    began = time.monotonic()
    first = rig.disk.submit(WRITE, 8, data=b"a" * 512)
    second = rig.disk.submit(READ, 16, 1)
    rig.run(lambda: second.done, "the request behind")
    assert first.status == second.status == OKAY
    assert time.monotonic() - began >= 0.06
    assert rig.image.read_bytes()[8 * 512 : 9 * 512] == b"a" * 512


def test_a_slow_request_survives_the_rule(broken: Broken) -> None:
    rig = broken.rig
    number = broken.add("media=slow", "by=20s", "op=write")
    request = rig.disk.submit(WRITE, 8, data=b"b" * 512)
    rig.run(lambda: bool(broken.breaker.fired(number)), "the rule fired")
    broken.breaker.remove(number)
    rig.run(lambda: request.done, "the request, once the rule is gone")
    assert request.status == OKAY


def test_short_fails_and_torn_does_not(broken: Broken) -> None:
    rig = broken.rig
    for word, status in (("media=short", ERROR), ("media=torn", OKAY)):
        rig.do(WRITE, 32, data=bytes(4096))
        number = broken.add(word, "times=1")
        assert rig.do(WRITE, 32, data=b"x" * 4096).status == status
        assert rig.do(READ, 32, 8).result() == b"x" * 2048 + bytes(2048)
        assert broken.breaker.fired(number)[0].startswith("write at sector 32: 4 sectors of it")


def test_a_lost_flush_is_lost_with_the_process(broken: Broken) -> None:
    rig = broken.rig
    number = broken.add("media=lost-flush")
    data = os.urandom(4096)
    assert rig.do(WRITE, 80, data=data).status == OKAY
    assert rig.do(FLUSH).status == OKAY
    assert rig.do(READ, 80, 8).result() == data, "it is read again"
    assert broken.breaker.fired(number) == ["flush acknowledged, 8 sectors held back"]
    rig.kill(broken.back)
    assert rig.image.read_bytes()[80 * 512 : 88 * 512] == bytes(4096)


def test_what_was_held_back_is_written_when_the_rule_goes(broken: Broken) -> None:
    rig = broken.rig
    number = broken.add("media=lost-flush")
    assert rig.do(WRITE, 80, data=b"y" * 512).status == OKAY
    broken.breaker.remove(number)
    rig.run(lambda: rig.image.read_bytes()[80 * 512 : 81 * 512] == b"y" * 512, "written")


def test_flip_changes_one_bit_of_what_is_read(broken: Broken) -> None:
    rig = broken.rig
    data = os.urandom(4096)
    rig.do(WRITE, 96, data=data)
    broken.add("media=flip", "sector=96..103")
    got = rig.do(READ, 96, 8).result()
    differs = [one ^ other for one, other in zip(data, got, strict=True) if one != other]
    assert len(differs) == 1
    assert differs[0].bit_count() == 1
    assert rig.image.read_bytes()[96 * 512 : 104 * 512] == data


def test_what_is_held_back_outlives_other_rules(broken: Broken) -> None:
    """Red with a medium made anew whenever something comes to stand there: the guest read what was
    there before its write, and that of the old medium came over the new one's in the end."""
    rig = broken.rig
    number = broken.add("media=lost-flush")
    assert rig.do(WRITE, 80, data=b"a" * 512).status == OKAY
    broken.add("media=slow", "nth=1000")
    assert rig.do(READ, 80, 1).result() == b"a" * 512
    assert rig.do(WRITE, 80, data=b"b" * 512).status == OKAY
    broken.breaker.remove(number)
    rig.run(lambda: rig.image.read_bytes()[80 * 512 : 81 * 512] == b"b" * 512, "written")
    assert rig.do(READ, 80, 1).result() == b"b" * 512


def test_what_is_held_back_is_written_when_the_disk_goes(broken: Broken) -> None:
    """Red when blkback closes its image and nothing that stands before it: the sector was lost, and
    the domain died of EBADF when the rule went."""
    rig = broken.rig
    number = broken.add("media=lost-flush")
    assert rig.do(WRITE, 80, data=b"c" * 512).status == OKAY
    rig.remove(rig.back_path(broken.back))
    rig.run(lambda: rig.image.read_bytes()[80 * 512 : 81 * 512] == b"c" * 512, "written")
    broken.breaker.remove(number)
    for _ in range(20):
        turn(rig.live, 0.001)


def test_a_request_that_waits_behind_another_rule_is_counted_once(broken: Broken) -> None:
    """Red with a rule that is asked once more: the second write was its third."""
    do = broken.rig.do
    broken.add("media=slow", "by=5ms", "op=write")
    number = broken.add("media=eio", "op=write", "nth=3")
    assert [do(WRITE, 8, data=bytes(512)).status for _ in range(4)] == [OKAY, OKAY, ERROR, OKAY]
    assert broken.breaker.fired(number) == ["write at sector 8: EIO"]


def test_a_slow_barrier_comes_to_an_end(broken: Broken) -> None:
    """Its flush, its write and its second flush are late one after the other.  Red with a service
    that begins anew with the first of them: the write was late whenever it was asked for."""
    number = broken.add("media=slow", "by=2ms", "after=1", "times=6")
    assert broken.rig.do(BARRIER, 8, data=b"d" * 512).status == OKAY
    late = [text.partition(" at ")[0] for text in broken.breaker.fired(number)]
    assert late == ["flush", "write", "flush"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["media=full", "op=read"], "media=full is about a write, and never about op=read"),
        (["media=lost-flush", "sector=8..9"], "sector: a flush is about none"),
        (["media=eio", "op=flush", "sector=8"], "sector: a flush is about none"),
    ],
)
def test_words_of_which_none_could_be_hit(broken: Broken, words: list[str], said: str) -> None:
    """Red with a `stand` that takes what comes: a rule that never fires, and nobody says why."""
    broken.add(*words)
    [standing] = broken.breaker.standing()
    assert standing.trouble == said


class Shelf:
    """Something to write to, that may be full."""

    full = True
    path = "a disk"
    device = sectors = sector_size = physical_sector_size = discard_granularity = 0
    readonly = False

    def __init__(self) -> None:
        self.written: list[tuple[bytes, int]] = []

    def write(self, views: list[memoryview], offset: int) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "no space left")
        self.written.append((b"".join(views), offset))

    def flush(self) -> None:
        """Nothing to do."""

    def discard(self, offset: int, length: int) -> None:
        raise OSError(errno.EIO, "no")

    def read(self, views: list[memoryview], offset: int) -> None:
        """Nothing is on it."""


def behind_lost_flushes(shelf: Shelf, said: list[str]) -> LosesFlushes:
    """A medium that holds writes back, and says into *said* what it could not write."""
    fault = SimpleNamespace(
        settings={"media": "lost-flush"},
        fires=lambda: False,
        domain=SimpleNamespace(log=said.append),
    )
    return LosesFlushes(cast(Medium, shelf), cast(Fault, fault))


def test_a_discard_that_fails_loses_nothing_of_what_is_held_back() -> None:
    """Red when what is held back goes first."""
    medium, page = behind_lost_flushes(Shelf(), []), bytearray(512)
    medium.write([memoryview(b"g" * 512)], 512)
    with pytest.raises(OSError, match="no"):
        medium.discard(0, 4096)
    medium.read([memoryview(page)], 512)
    assert page == b"g" * 512


def test_what_cannot_be_written_is_held_and_in_the_end_said_to_be_lost() -> None:
    """Red with a `_spill` that lets go of a sector before it is written, and a `mend` that raises:
    into the turn in which the domain takes its rules out, which it did not survive."""
    said: list[str] = []
    shelf = Shelf()
    medium = behind_lost_flushes(shelf, said)
    medium.write([memoryview(b"e" * 512)], 512)
    with pytest.raises(OSError, match="no space"):
        medium.flush()
    shelf.full = False
    medium.flush()
    assert shelf.written == [(b"e" * 512, 512)]
    medium.write([memoryview(b"f" * 512)], 0)
    shelf.full = True
    medium.mend()
    assert said == ["a disk: 1 sectors held back are lost: [Errno 28] no space left"]
