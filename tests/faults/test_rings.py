"""Each fault of the ring of a disk, by either half, and what the other half makes of it.

Seen red: each with a `Half` of its kind that passes everything on; the recoveries with lifts that
do not mend, with a layer that makes another half each time, with drivers that do not publish what
was held back, and with a `Stop` that arms nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from hvsim.abi.blkif import BLKIF_RSP_OKAY
from hvsim.domain.domain import Domain
from hvsim.domain.injection import Fault
from hvsim.drivers.block.back import BlockBack
from hvsim.drivers.block.hotplug import script
from hvsim.drivers.block.protocol import BlockBroken
from hvsim.drivers.block.request import READ, WRITE, Request
from hvsim.faults.inject.half import Half
from hvsim.faults.inject.rings import stand
from hvsim.wire.typed import changed
from tests.drivers.blockrig import VDEV, Rig, a_disk_and_its_domains
from tests.faults.breaking import Breaker

__all__ = ["a_disk_and_its_domains"]

SLOTS = 64
"""Where the slots begin."""


class Broken:
    """A disk that is connected, and who breaks its ring."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.back: Domain = rig.domain()
        rig.start(self.back)
        self.breaker = Breaker(rig.hv, rig.guest, self.back, ("vbd", VDEV, "xvda"))

    @property
    def driver(self) -> BlockBack:
        driver = self.back.backends.drivers[f"backend/vbd/{self.rig.guest.domid}/{VDEV}"]
        assert isinstance(driver, BlockBack)
        return driver

    def add(self, *words: str) -> int:
        """In place when this returns."""
        number = self.breaker.add("guest/xvda", *words)
        self.rest()
        return number

    def remove(self, number: int) -> None:
        self.breaker.remove(number)
        self.rest()

    def rest(self) -> None:
        for _ in range(8):
            self.rig.run(lambda: True, "")
            for domain in self.rig.live:
                if domain.vcpu.block(0.001):
                    domain.vcpu.dispatch()

    def ask(self, op: int = READ, sector: int = 0) -> Request:
        """One request, and whatever comes of it."""
        data = b"d" * 512 if op == WRITE else b""
        request = self.rig.disk.submit(op, sector, 0 if data else 1, data=data)
        self.rest()
        return request

    def errors(self, dom: Domain) -> list[str]:
        """What a domain wrote into its error nodes."""
        mark = f"d{dom.domid} WRITE error/"
        return [line.split(" ", 3)[3] for line in self.rig.store.trace if line.startswith(mark)]

    def disabled(self, why: str) -> None:
        """The frontend has given up its device, and says why."""
        self.rig.run(lambda: self.rig.disk.dead is not None, "the device disabled")
        assert isinstance(self.rig.disk.dead, BlockBroken)
        assert why in str(self.rig.disk.dead)
        assert any(
            why in text and "device disabled" in text for text in self.errors(self.rig.guest)
        )

    def ended(self, why: str) -> None:
        """The backend has ended this device, and says why."""
        self.rig.run(lambda: bool(self.errors(self.back)), "the backend's error")
        [text] = self.errors(self.back)
        assert text.startswith("13 frontend provided bogus ring requests")
        assert why in text
        assert self.driver.connection is None
        assert self.back.backends.drivers, "the domain goes on"


@pytest.fixture
def broken(rig: Rig) -> Iterator[Broken]:
    made = Broken(rig)
    yield made
    made.breaker.clear()


# -- of the backend ------------------------------------------------------------------------------


def test_a_warped_index_costs_the_frontend_its_device(broken: Broken) -> None:
    number = broken.add("ring=warp", "by=7", "after=1")
    assert broken.ask().status == BLKIF_RSP_OKAY
    broken.ask()
    broken.disabled("response producer index 9 is out of range")
    assert broken.breaker.fired(number) == ["producer index 2 published as +7 from there"]


def test_an_index_that_goes_backwards(broken: Broken) -> None:
    assert broken.ask().status == BLKIF_RSP_OKAY
    broken.add("ring=warp", "by=-2", "times=1")
    broken.ask()
    broken.disabled("response producer index 0 is out of range")


def test_an_answer_of_other_bytes(broken: Broken) -> None:
    number = broken.add("ring=corrupt", "at=0..7", "nth=2")
    assert broken.ask().status == BLKIF_RSP_OKAY
    broken.ask()
    broken.disabled("incorrect id")
    assert broken.breaker.fired(number) == ["bytes 0 to 7 of slot 1 are others"]


def test_only_the_bytes_that_are_named(broken: Broken) -> None:
    """Bytes 9 and 12 to 15 of an answer are padding."""
    number = broken.add("ring=corrupt", "at=12..15")
    assert broken.ask().status == BLKIF_RSP_OKAY
    assert len(broken.breaker.fired(number)) == 1


def test_bytes_that_a_slot_does_not_have(broken: Broken) -> None:
    broken.add("ring=corrupt", "at=112..120")
    assert broken.ask().status == BLKIF_RSP_OKAY
    [standing] = broken.breaker.standing()
    assert standing.trouble == "at: a slot of this ring has 112 bytes"


def test_a_published_answer_flips_until_its_place_is_taken(broken: Broken) -> None:
    """A frontend that looks twice sees two answers; ours copies, and sees the wrong one."""
    number = broken.add("ring=flip", "at=0..7", "times=1")
    rig = broken.rig
    assert rig.disk.connection is not None
    page = rig.disk.connection.page
    rig.live.remove(rig.guest)
    request = rig.disk.submit(READ, 0, 1)
    seen = set()
    for _ in range(12):
        broken.rest()
        seen.add(bytes(page[SLOTS : SLOTS + 8]))
    assert bytes(8) in seen, "the id of the request"
    assert len(seen) >= 2, "the request, or the answer and the other"
    rig.live.append(rig.guest)
    assert broken.breaker.fired(number) == ["bytes 0 to 7 of slot 0 flip"]
    rig.run(lambda: request.done, "the answer, or the end of the device")


def test_what_flips_is_whole_again_when_the_rule_goes(broken: Broken) -> None:
    number = broken.add("ring=flip", "at=0..7")
    rig = broken.rig
    rig.live.remove(rig.guest)
    request = rig.disk.submit(READ, 0, 1)
    rig.run(lambda: bool(broken.breaker.fired(number)), "the rule fired")
    broken.remove(number)
    rig.live.append(rig.guest)
    rig.run(lambda: request.done, "the answer")
    assert request.status == BLKIF_RSP_OKAY


def test_nothing_is_consumed_while_the_rule_stands(broken: Broken) -> None:
    number = broken.add("ring=stop", "after=1")
    assert broken.ask().status == BLKIF_RSP_OKAY
    first, second = broken.ask(), broken.ask()
    assert not first.done
    assert not second.done
    assert broken.breaker.fired(number) == ["requests not consumed"] * 2, "each bell is taken"
    broken.remove(number)
    broken.rig.run(lambda: first.done and second.done, "the answers, once the rule is gone")
    assert first.status == second.status == BLKIF_RSP_OKAY


def test_looks_in_vain_run_out(broken: Broken) -> None:
    number = broken.add("ring=stop", "times=2")
    first = broken.ask()
    assert not first.done
    second = broken.ask()
    broken.rig.run(lambda: first.done and second.done, "the answers, after two looks")
    assert len(broken.breaker.fired(number)) == 2
    assert not isinstance(broken.driver._service._ring, Half), "the ring itself again"  # type: ignore[union-attr]


def test_never_answered_until_the_rule_goes(broken: Broken) -> None:
    """The others are; what is held back is written, and the backend goes on with it."""
    number = broken.add("answer=never", "nth=2")
    assert broken.ask().status == BLKIF_RSP_OKAY
    hangs = broken.ask(WRITE, 8)
    assert broken.ask().status == BLKIF_RSP_OKAY
    assert not hangs.done
    assert broken.rig.image.read_bytes()[8 * 512 : 9 * 512] == b"d" * 512, "done, and not answered"
    assert broken.rig.disk.statistics()["unanswered"] == 1
    assert broken.breaker.fired(number) == ["1 request without an answer"]
    assert broken.driver._service is not None
    half = broken.driver._service._ring
    other = broken.add("media=eio", "op=flush")  # the ring is seated anew
    assert broken.driver._service._ring is half, "with what it holds"
    assert not hangs.done
    broken.remove(other)
    assert not hangs.done
    broken.remove(number)
    broken.rig.run(lambda: hangs.done, "the answer, once the rule is gone")
    assert hangs.status == BLKIF_RSP_OKAY


def test_never_answered_is_asked_again_of_the_next_backend(broken: Broken) -> None:
    """Red when a rule of this backend's domain reaches the next."""
    broken.add("answer=never")
    hangs = broken.ask(WRITE, 16)
    assert not hangs.done
    rig = broken.rig
    rig.kill(broken.back)
    rig.start(rig.domain())
    rig.run(lambda: hangs.done, "the answer of the next")
    assert hangs.status == BLKIF_RSP_OKAY


def test_answered_twice(broken: Broken) -> None:
    number = broken.add("answer=twice", "nth=1")
    broken.ask()
    broken.disabled("out of range")
    assert broken.breaker.fired(number) == ["answer 0000000000000000 given twice"]


def test_answered_twice_with_others_behind(broken: Broken) -> None:
    """The answer takes the place of another's."""
    broken.add("answer=twice", "nth=1")
    requests = [broken.rig.disk.submit(READ, sector, 1) for sector in range(24)]
    broken.disabled("incorrect id (0x0)")
    assert requests[0].status == BLKIF_RSP_OKAY
    assert requests[-1].done


def test_an_answer_to_nobody(broken: Broken) -> None:
    number = broken.add("answer=unknown", "after=1")
    assert broken.ask().status == BLKIF_RSP_OKAY
    broken.ask()
    broken.disabled("incorrect id")
    assert broken.breaker.fired(number)[0].startswith("answer to id 0x1 given to 0x")


def test_an_answer_of_another_operation(broken: Broken) -> None:
    broken.add("answer=wrong-op", "after=1")
    assert broken.ask().status == BLKIF_RSP_OKAY
    broken.ask()
    broken.disabled("wrong operation (WRITE instead of READ)")


# -- of the frontend -----------------------------------------------------------------------------


def test_a_frontend_that_warps_its_index_loses_its_device(broken: Broken) -> None:
    number = broken.add("ring=warp", "half=front", "by=100")
    broken.ask()
    broken.ended("request producer index 101 is out of range")
    assert len(broken.breaker.fired(number)) == 1


def test_a_request_of_other_bytes_is_answered_as_it_stands(broken: Broken) -> None:
    """Its operation is another: the answer names what nobody asked, to a frontend that is told."""
    broken.add("ring=corrupt", "half=front", "at=0..0", "times=1")
    broken.ask()
    broken.disabled("wrong operation")


def test_a_request_that_flips_is_copied_once(broken: Broken) -> None:
    """Its count of segments: refused, or done; either way the backend goes on."""
    number = broken.add("ring=flip", "half=front", "at=1..1")
    requests = [broken.ask() for _ in range(4)]
    broken.rig.run(lambda: all(request.done for request in requests), "the answers")
    assert broken.breaker.fired(number) == [f"bytes 1 to 1 of slot {n} flip" for n in range(4)]
    assert broken.driver.connection is not None
    broken.breaker.clear()
    broken.rest()
    assert broken.ask().status == BLKIF_RSP_OKAY


def test_a_frontend_that_takes_no_answers(broken: Broken) -> None:
    number = broken.add("ring=stop", "half=front")
    requests = [broken.ask() for _ in range(40)]
    assert not any(request.done for request in requests)
    assert broken.breaker.fired(number)[0] == "answers not consumed"
    broken.remove(number)
    broken.rig.run(lambda: all(request.done for request in requests), "answers, the rule gone")


# -- what it costs -------------------------------------------------------------------------------


def test_the_compiled_service_is_back_when_the_rules_are_gone(broken: Broken) -> None:
    """Red when a rule leaves its layer, and when its figures are lost with it."""
    broken.ask()
    before = broken.driver._service
    assert before is not None
    number = broken.add("answer=never", "after=1000")
    assert broken.ask().status == BLKIF_RSP_OKAY
    during = broken.driver._service
    assert during is not None
    assert during.serve_natively is None
    assert during.statistics().reads == 2
    broken.remove(number)
    assert broken.ask().status == BLKIF_RSP_OKAY
    after = broken.driver._service
    assert after is not None
    assert (after.serve_natively is None, after.spin is None) == (
        before.serve_natively is None,
        before.spin is None,
    )
    assert after.statistics().requests == 3


def forgotten(
    broken: Broken, monkeypatch: pytest.MonkeyPatch, between: Callable[[], None]
) -> Request:
    """A write that was unanswered when the backend died, at the next one; *between*, there is no
    ring."""
    rig = broken.rig
    assert broken.ask(WRITE, 8).status == BLKIF_RSP_OKAY, "as long as nobody dies"
    rig.live.remove(broken.back)
    lost, read = rig.disk.submit(WRITE, 16, data=b"x" * 512), rig.disk.submit(READ, 8, 1)
    rig.live.append(broken.back)
    rig.kill(broken.back)
    disconnect = rig.disk.disconnect

    def let_go() -> None:
        disconnect()
        between()

    monkeypatch.setattr(rig.disk, "disconnect", let_go)
    back = rig.domain()
    BlockBack.register(back, script(back))
    rig.attach(back)
    rig.run(lambda: lost.done and read.done, "recovered")
    assert read.result() == b"d" * 512, "a read is done"
    later = broken.ask(WRITE, 24)
    assert later.status == BLKIF_RSP_OKAY
    assert rig.image.read_bytes()[24 * 512 : 25 * 512] == b"d" * 512
    return lost


def test_a_frontend_that_forgets_what_was_unanswered(
    broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Acknowledged, and not written.  Red with `Forget.produce` that passes everything on."""
    rule = broken.breaker.rule("guest/xvda", "ring=forget", "half=front")
    number = broken.breaker.enter_rule(changed(rule, peer=None))  # whoever serves it
    broken.rest()
    lost = forgotten(broken, monkeypatch, lambda: None)
    assert lost.status == BLKIF_RSP_OKAY
    assert broken.rig.image.read_bytes()[16 * 512 : 17 * 512] == bytes(512)
    assert broken.breaker.fired(number) == ["1 unanswered writes forgotten"]


def test_it_forgets_though_the_rule_is_put_in_place_anew(
    broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is when the other end has another life.  Red with a memory of each `Fault`'s own."""
    words = "ring=forget", "half=front"
    rule = changed(broken.breaker.rule("guest/xvda", *words), number=1, peer_domid=-1)
    lifts = [stand(Fault(broken.rig.guest, rule))]

    def anew() -> None:
        lifts.pop()()
        lifts.append(stand(Fault(broken.rig.guest, rule)))

    assert forgotten(broken, monkeypatch, anew).status == BLKIF_RSP_OKAY
    assert broken.rig.image.read_bytes()[16 * 512 : 17 * 512] == bytes(512)
    lifts.pop()()


def test_only_a_frontend_of_a_disk_forgets(broken: Broken) -> None:
    broken.add("ring=forget")
    [standing] = broken.breaker.standing()
    assert "half=front" in standing.trouble
