"""What becomes of one notify in the middle: the dice are thrown here."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvsim.abi.errno import EINVAL
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.mediation import MAX_DELAY_US, PASS, Policy


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.randoms(use_true_random=False))
def test_policy(drop: float, duplicate: float, delay: float, dice: random.Random) -> None:
    rule: dict[object, object] = {
        "drop": drop,
        "duplicate": duplicate,
        "delay": delay,
        "delay_us": [5, 9],
    }
    policy = Policy.parse(rule)
    times = policy.decide(dice.random)
    assert len(times) <= 2
    assert all(time == 0 or 5_000 <= time <= 9_000 for time in times)


def decided(rule: dict[object, object], *rolls: float) -> list[int]:
    """What a rule makes of one notify when the dice show *rolls*, all of which it throws."""
    left = list(rolls)
    times = Policy.parse(rule).decide(lambda: left.pop(0))
    assert not left
    return times


def test_each_fate_has_its_roll() -> None:
    everything: dict[object, object] = {
        "drop": 0.5,
        "duplicate": 0.5,
        "delay": 0.5,
        "delay_us": [100, 300],
    }
    assert decided(everything, 0.4) == []
    assert decided(everything, 0.6, 0.6, 0.6) == [0]
    assert decided(everything, 0.6, 0.4, 0.5, 0.6) == [200_000]
    assert decided(everything, 0.6, 0.6, 0.4, 0.4, 0.0) == [0, 100_000]


def test_what_no_rule_says_throws_no_dice() -> None:
    assert decided({}) == PASS.decide(lambda: 1 / 0) == [0]


@pytest.mark.parametrize("key", ["drop", "duplicate", "delay"])
@pytest.mark.parametrize("value", [-0.1, 1.1, True, "0.5", None])
def test_a_probability_lies_between_never_and_always(key: str, value: object) -> None:
    with pytest.raises(XenError, match=f"{key} is no probability") as refused:
        Policy.parse({key: value})
    assert refused.value.errno == EINVAL
    assert Policy.parse({key: 0}) == PASS
    assert Policy.parse({key: 1}) != PASS


@pytest.mark.parametrize("bounds", [[2, 1], [-1, 1], [0, MAX_DELAY_US + 1], [1], (1, 2), [1, 2.0]])
def test_a_delay_has_bounds(bounds: object) -> None:
    with pytest.raises(XenError, match="delay_us is no"):
        Policy.parse({"delay_us": bounds})
    assert Policy.parse({"delay_us": [0, MAX_DELAY_US]}).delay_us == (0, MAX_DELAY_US)


def test_a_key_that_is_none_is_named() -> None:
    with pytest.raises(XenError, match="unknown key 'lose'"):
        Policy.parse({"lose": 1.0})
