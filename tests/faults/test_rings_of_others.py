"""Faults of the ring of a device of a lab's own, and what its other half makes of them.

Seen red: each with a `Half` of its kind that passes everything on, and with a `RingFront` or
`RingBack` that does not pass its ring through the seam.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hvsim.drivers.split.one_ring import RingBack
from tests.drivers.test_one_ring import Echo
from tests.faults.breakable import Breakable
from tests.faults.breaking import Breaker
from tests.support.hv import Hypervisor


class Broken(Breakable, Echo):
    """Both halves connected, and who breaks their ring."""

    def __init__(self, hv: Hypervisor) -> None:
        super().__init__(hv)
        self.connected(self.back)
        self.target = "guest/echo0"
        self.breaker = Breaker(hv, self.guest, self.back, ("echo", 0, "echo0"))

    def ask(self, *requests: bytes) -> None:
        """And whatever comes of it."""
        for request in requests:
            self.front.ask(request)
        self.rest()


@pytest.fixture
def broken(hv: Hypervisor) -> Iterator[Broken]:
    rig = Broken(hv)
    yield rig
    rig.close()


def test_a_warped_index_costs_the_frontend_its_device(broken: Broken) -> None:
    broken.add("ring=warp", "by=5", "nth=2")
    broken.ask(b"aaaa")
    broken.ask(b"bbbb")
    assert broken.answers == [b"aaaaaaaa"]
    [text] = broken.errors(broken.guest)
    assert "response producer index 7 is out of range" in text
    assert "device disabled" in text


def test_a_frontend_that_warps_its_index_loses_its_device(broken: Broken) -> None:
    broken.add("ring=warp", "half=front", "by=-1")
    broken.ask(b"aaaa")
    broken.ask(b"bbbb")
    assert broken.answers == [b"aaaaaaaa"], "always one behind"
    assert broken.breaker.standing()[0].rule.fired == 2
    broken.breaker.clear()
    broken.rest()
    assert broken.answers == [b"aaaaaaaa", b"bbbbbbbb"], "the true index, when the rule is gone"
    broken.add("ring=warp", "half=front", "by=-3")
    broken.ask(b"cccc")
    [text] = broken.errors(broken.back)
    assert text.startswith("13 frontend provided bogus ring requests")


def test_other_bytes_come_out(broken: Broken) -> None:
    broken.add("ring=corrupt", "at=7..7", "nth=2")
    broken.ask(b"aaaa", b"bbbb", b"cccc")
    assert broken.answers[0] == b"aaaaaaaa"
    assert broken.answers[1][:7] == b"bbbbbbb"
    assert broken.answers[1] != b"bbbbbbbb"
    assert broken.answers[2] == b"cccccccc"


def test_nothing_is_consumed_while_the_rule_stands(broken: Broken) -> None:
    for half in ("back", "front"):
        broken.answers.clear()
        number = broken.add("ring=stop", f"half={half}")
        broken.ask(b"aaaa", b"bbbb")
        assert broken.answers == []
        assert broken.front.statistics()["unanswered"] == 2
        broken.remove(number)
        assert broken.answers == [b"aaaaaaaa", b"bbbbbbbb"]


def test_never_answered_until_the_rule_goes(broken: Broken) -> None:
    number = broken.add("answer=never", "after=1")
    broken.ask(b"aaaa", b"bbbb", b"cccc")
    assert broken.answers == [b"aaaaaaaa"]
    [driver] = broken.back.backends.drivers.values()
    assert isinstance(driver, RingBack)
    assert driver.answered == 3
    broken.remove(number)
    assert broken.answers == [b"aaaaaaaa", b"bbbbbbbb", b"cccccccc"]


def test_answered_twice(broken: Broken) -> None:
    broken.add("answer=twice", "nth=2")
    broken.ask(b"aaaa")
    broken.ask(b"bbbb")
    [text] = broken.errors(broken.guest)
    assert "response producer index 3 is out of range" in text


def test_what_such_an_answer_does_not_have(broken: Broken) -> None:
    for words, why in (
        (("answer=unknown",), "echo: its answers have no id"),
        (("answer=wrong-op",), "echo: its answers name no operation"),
        (("ring=stop", "which=rx"), "which: only a vif has a TX and an RX ring"),
    ):
        number = broken.add(*words)
        broken.ask(b"aaaa")
        assert broken.trouble() == why
        broken.breaker.remove(number)
    assert broken.answers == [b"aaaaaaaa"] * 3
