"""The guest that asks and answers in frames of its own, without a domain.

Seen red: without the checksum (a damaged frame is an answer), with answers to anybody's number.
"""

from __future__ import annotations

import pytest

from domains.guests.ping import ANSWER, ASK, EVERYBODY, LEAST, Ping, Pinger, ping
from hvsim.errors import TimedOut

ONE, TWO = b"\x00\x16\x3e\x00\x00\x01", b"\x00\x16\x3e\x00\x00\x02"


class Wire:
    """An interface: what was sent, and what will be received."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.coming: list[bytes] = []
        self.dead = False

    @property
    def received(self) -> int:
        return len(self.coming)

    def send(self, frame: bytes) -> None:
        if self.dead:
            raise TimedOut("room", 5.0)
        self.sent.append(frame)

    def receive(self) -> bytes:
        return self.coming.pop(0)


@pytest.mark.parametrize("size", [0, LEAST, 1514])
def test_a_frame_says_what_it_was_made_of(size: int) -> None:
    made = Ping(ONE, TWO, ASK, 1000, size)
    found = ping(made.frame())
    assert found == made._replace(size=max(LEAST, size))


def test_what_was_damaged_or_is_anothers_says_nothing() -> None:
    good = Ping(ONE, TWO, ANSWER, 7).frame()
    for place in range(12, len(good)):
        if 14 < place < 19:
            continue  # its number, and of what kind it is
        bad = bytearray(good)
        bad[place] ^= 1
        assert place == 14 or ping(bytes(bad)) is None, place
    assert ping(good[:-1]) is None
    assert ping(good[: LEAST - 1]) is None
    assert ping(b"") is None


def test_questions_and_answers() -> None:
    left, right = Wire(), Wire()
    asks, answers = Pinger(left, ONE, 100), Pinger(right, TWO, LEAST)
    number = asks.ask()
    right.coming = left.sent
    assert ping(right.coming[0]) == Ping(EVERYBODY, ONE, ASK, number, 100)
    answers.hear()
    left.coming = right.sent
    assert ping(left.coming[0]) == Ping(ONE, TWO, ANSWER, number, 100)
    asks.hear()
    assert (asks.answered, asks.lost) == (number, 0)
    left.sent = []
    asks.ask()
    assert ping(left.sent[0]) == Ping(TWO, ONE, ASK, 2, 100), "who has answered is asked"


def test_an_answer_that_does_not_come_or_comes_late() -> None:
    wire = Wire()
    pinger = Pinger(wire, ONE, LEAST)
    late = Ping(ONE, TWO, ANSWER, pinger.ask())
    pinger.give_up()
    pinger.ask()
    wire.coming = [late.frame(), Ping(TWO, TWO, ANSWER, 2).frame(), Ping(ONE, TWO, 9, 2).frame()]
    pinger.hear()
    assert (pinger.answered, pinger.lost) == (0, 1)
    wire.dead = True
    assert pinger.ask() == 3, "as lost on the wire"
