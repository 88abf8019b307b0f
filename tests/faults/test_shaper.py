"""What a bad wire does to frames, by the thousand, without a wire.

Seen red: a stage that does not hold up those behind a frame that is late, `drain` without the one
that waits to be overtaken, a queue without an end, `twisted` that makes no checksum, and one that
leaves the header saying that the checksum is to be made, or is right.
"""

from __future__ import annotations

import struct
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvsim.drivers.net.offload import (
    F_DATA_VALID,
    F_NEEDS_CSUM,
    GSO_TCPV4,
    PLAIN,
    VNET,
    ones_sum,
)
from hvsim.faults.inject.shaper import MAX_FRAMES, REORDER_WAIT, Shaper, Stage, Terms
from hvsim.faults.inject.twist import twisted
from hvsim.wire.fault import Trigger, When

SIZE = 100


def frame(number: int, size: int = SIZE) -> bytes:
    return PLAIN + struct.pack(">I", number).ljust(size, b"\0")


def number_of(data: bytes) -> int:
    found: int = struct.unpack_from(">I", data, VNET.size)[0]
    return found


class Wire:
    """Stages, each of one rule, and what they told."""

    def __init__(self, *terms: Terms, seed: int = 7, when: When | None = None) -> None:
        self.shaper = Shaper()
        self.told: list[str] = []
        self.came: list[int] = []
        self.times: list[float] = []
        self.stages = []
        for one in terms:
            dice = Random(seed)
            trigger = Trigger(when or When(), dice.random)
            self.stages.append(Stage(one, dice, trigger.fires, self.told.append))
            self.shaper.add(self.stages[-1])

    def put(self, data: bytes, now: float) -> None:
        self.shaper.put(data, now)
        self.look(now)

    def look(self, now: float) -> None:
        """What has come by then."""
        for data in self.shaper.take(now):
            self.came.append(number_of(data))
            self.times.append(now)

    def end(self, now: float) -> None:
        """Let time pass until nothing is held."""
        while (deadline := self.shaper.deadline) is not None:
            now = max(now, deadline)
            self.look(now)


def sent(wire: Wire, gaps: list[float], size: int = SIZE) -> None:
    now = 0.0
    for number, gap in enumerate(gaps):
        now += gap
        wire.look(now)
        wire.put(frame(number, size), now)
    wire.end(now)


SHARES = st.sampled_from([0.0, 0.1, 0.5, 1.0])
DELAYS = st.sampled_from([(0.0, 0.0), (0.005, 0.005), (0.001, 0.05)])
GAPS = st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.2]), max_size=60)
TERMS = st.builds(
    Terms,
    gone=st.just(False),
    drop=SHARES,
    duplicate=SHARES,
    corrupt=st.just(0.0),
    reorder=SHARES,
    delay=DELAYS,
    rate=st.sampled_from([0.0, 1e6]),
)
WHENS = st.builds(
    When, after=st.integers(0, 3), every=st.integers(1, 3), chance=st.sampled_from([0.5, 1.0])
)


@given(st.lists(TERMS, max_size=3), GAPS, st.integers(0, 9), WHENS)
def test_no_frame_is_invented_nor_lost_without_a_word(
    terms: list[Terms], gaps: list[float], seed: int, when: When
) -> None:
    """Each comes once, but for what was told of it; without reorder, all in order."""
    wire = Wire(*terms, seed=seed, when=when)
    sent(wire, gaps)
    lost = sum("lost" in text for text in wire.told)
    twice = sum("twice" in text for text in wire.told)
    assert set(wire.came) <= set(range(len(gaps)))
    assert len(wire.came) == len(gaps) + twice - lost
    if not any(one.reorder for one in terms):
        assert wire.came == sorted(wire.came)
    assert not any(len(stage) for stage in wire.stages)


@given(TERMS, GAPS, st.integers(0, 9))
def test_it_happens_again_with_the_same_dice(terms: Terms, gaps: list[float], seed: int) -> None:
    one, other = Wire(terms, seed=seed), Wire(terms, seed=seed)
    sent(one, gaps)
    sent(other, gaps)
    assert (one.came, one.times, one.told) == (other.came, other.times, other.told)


@given(st.lists(TERMS, min_size=1, max_size=3), GAPS, st.integers(0, 2), st.integers(0, 9))
def test_a_rule_that_goes_gives_back_what_it_held(
    terms: list[Terms], gaps: list[float], which: int, seed: int
) -> None:
    """In order, before whatever comes later."""
    wire = Wire(*terms, seed=seed)
    now = 0.0
    for number, gap in enumerate(gaps):
        now += gap
        wire.put(frame(number), now)
    for stage in wire.stages[: which + 1]:
        wire.shaper.remove(stage, now)
    wire.put(frame(len(gaps)), now)
    wire.end(now)
    lost = sum("lost" in text for text in wire.told)
    assert len(set(wire.came)) >= len(gaps) + 1 - lost
    if not any(one.reorder for one in terms):
        assert wire.came == sorted(wire.came)


def test_drop_all_and_a_share() -> None:
    wire = Wire(Terms(drop=1.0))
    sent(wire, [0.0] * 10)
    assert (wire.came, wire.told) == ([], ["100 bytes: lost"] * 10)
    wire = Wire(Terms(drop=0.5))
    sent(wire, [0.0] * 200)
    assert 60 < len(wire.came) < 140


def test_times_counts_what_was_hit() -> None:
    wire = Wire(Terms(drop=0.5), when=When(times=3))
    sent(wire, [0.0] * 200)
    assert len(wire.came) == 197


def test_delay_and_jitter_lie_in_their_bounds_and_keep_the_order() -> None:
    wire = Wire(Terms(delay=(0.01, 0.02)))
    sent(wire, [0.001] * 100)
    assert wire.came == list(range(100))
    late = [came - (number + 1) * 0.001 for number, came in enumerate(wire.times)]
    assert min(late) >= 0.01 - 1e-9
    assert max(late) <= 0.02 + 1e-9
    assert len({round(one, 6) for one in late}) > 10, "a span is jitter"


def test_reorder_swaps_two_and_waits_for_nobody_for_ever() -> None:
    wire = Wire(Terms(reorder=1.0), when=When(every=2))
    sent(wire, [0.0] * 5)
    assert wire.came == [1, 0, 3, 2, 4]
    assert wire.times[-1] == pytest.approx(REORDER_WAIT)


def test_duplicate_comes_at_once() -> None:
    wire = Wire(Terms(duplicate=1.0), when=When(times=1))
    sent(wire, [0.0] * 3)
    assert wire.came == [0, 0, 1, 2]


def test_rate_lets_no_more_through_and_loses_what_waits_too_long() -> None:
    wire = Wire(Terms(rate=8e6))  # a million bytes a second
    sent(wire, [0.0005] * 2000, size=1000)  # twice as much, for a second
    lost = sum("lost" in text for text in wire.told)
    assert lost > 500
    assert len(wire.came) + lost == 2000
    assert wire.came == sorted(wire.came)
    assert wire.times[-1] >= len(wire.came) * 0.001 - 0.02
    quiet = Wire(Terms(rate=8e6))
    sent(quiet, [0.002] * 100, size=1000)
    assert quiet.told == [], "half as much is nobody's business"


def test_what_is_held_has_an_end() -> None:
    wire = Wire(Terms(delay=(100.0, 100.0)))
    for number in range(MAX_FRAMES + 10):
        wire.put(frame(number), 0.0)
    assert sum("too many" in text for text in wire.told) == 10
    wire.end(0.0)
    assert wire.came == list(range(MAX_FRAMES))


def test_what_is_lost_for_want_of_room_is_told_once() -> None:
    """Red when the queue and who fills it tell of it both: late, and lost, and counted twice."""
    wire = Wire(Terms(delay=(10.0, 10.0)))
    for number in range(MAX_FRAMES + 2):
        wire.put(frame(number), 0.0)
    assert len(wire.told) == MAX_FRAMES + 2
    assert wire.told[-1] == f"{SIZE} bytes, 10000 ms late: lost, too many are held"


def test_those_it_is_not_about_pass() -> None:
    stage = Stage(
        Terms(gone=True, delay=(1.0, 1.0)),
        Random(1),
        lambda would: would,
        lambda text: None,
        lambda data: number_of(data) % 2 == 0,
    )
    shaper = Shaper()
    shaper.add(stage)
    for number in range(6):
        shaper.put(frame(number), 0.0)
    assert [number_of(data) for data in shaper.take(0.0)] == [1, 3, 5]


ADDRESSES = bytes(range(12))


def datagram(payload: bytes, protocol: int = 17) -> bytes:
    """UDP (or TCP) in IPv4 with the sum of the pseudo header where its checksum belongs."""
    head = struct.pack(">HHHH", 1, 2, 8 + len(payload), 0) if protocol == 17 else bytes(12)
    if protocol == 6:
        head += b"\x50" + bytes(7)
    pseudo = bytes([10, 0, 0, 1, 10, 0, 0, 2, 0, protocol])
    pseudo += struct.pack(">H", len(head) + len(payload))
    at = 6 if protocol == 17 else 16
    head = head[:at] + struct.pack(">H", ones_sum(pseudo)) + head[at + 2 :]
    total = 20 + len(head) + len(payload)
    ip = struct.pack(">BBHHHBBH", 0x45, 0, total, 0, 0, 64, protocol, 0) + pseudo[:8]
    return ADDRESSES + b"\x08\x00" + ip + head + payload


def sum_is_right(data: bytes, protocol: int = 17) -> bool:
    segment = data[34:]
    pseudo = data[26:34] + bytes([0, protocol]) + struct.pack(">H", len(segment))
    return ones_sum(pseudo + segment) == 0xFFFF


@given(st.binary(min_size=1, max_size=200), st.integers(0, 99))
def test_a_twisted_frame_has_a_checksum_that_tells(payload: bytes, seed: int) -> None:
    """Its own, though the sender had left it to somebody later."""
    whole = datagram(payload)
    vnet = VNET.pack(F_NEEDS_CSUM, 0, 0, 0, 34, 6)
    found, said = twisted(vnet + whole, Random(seed))
    header, data = found[: VNET.size], found[VNET.size :]
    assert header == PLAIN
    assert "turned over" in said
    assert not sum_is_right(data)
    assert sum_is_right(data[:42] + payload), "it was made from what had been there"
    assert data[:40] == whole[:40]
    changed = [a ^ b for a, b in zip(data[42:], payload, strict=True)]
    assert sum(one.bit_count() for one in changed) == 1


def test_who_has_looked_at_the_checksum_has_not_seen_this() -> None:
    vnet = VNET.pack(F_DATA_VALID, 0, 0, 0, 0, 0)
    found, _ = twisted(vnet + ADDRESSES + b"\x12\x34" + bytes(50), Random(1))
    assert found[: VNET.size] == PLAIN
    assert sum(byte.bit_count() for byte in found[VNET.size + 14 :]) == 1


def test_a_packet_that_is_yet_to_be_cut_stays_one() -> None:
    """Its headers are whole: only what is in it is another."""
    whole = datagram(bytes(5000), 6)
    vnet = VNET.pack(F_NEEDS_CSUM, GSO_TCPV4, 54, 1448, 34, 16)
    for seed in range(50):
        found, _ = twisted(vnet + whole, Random(seed))
        assert found[: VNET.size + 54] == vnet + whole[:54]
        assert sum(byte.bit_count() for byte in found[VNET.size + 54 :]) == 1
