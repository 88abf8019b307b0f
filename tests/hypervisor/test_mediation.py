"""What becomes of one notify in the middle: the dice are thrown here."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvsim.abi.errno import EINVAL
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.mediation import MAX_DELAY, MAX_STORM, UNTOUCHED, Fate, Policy


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.randoms(use_true_random=False))
def test_policy(drop: float, duplicate: float, reorder: float, dice: random.Random) -> None:
    shares = {"bell.drop": drop, "bell.duplicate": duplicate, "bell.reorder": reorder}
    policy = Policy.parse({**shares, "bell.delay": [5e-6, 9e-6]})
    for _ in range(10):
        fate = policy.decide(dice.random)
        if fate.lost:
            assert drop > 0
        else:
            assert drop < 1
            assert 5_000 <= fate.late <= 9_000
            assert fate.held == (reorder == 1) or 0 < reorder < 1
            assert fate.twice == (duplicate == 1) or 0 < duplicate < 1


def decided(settings: dict[str, object], *rolls: float) -> Fate:
    """What a rule makes of one notify when the dice show *rolls*, all of which it throws."""
    left = list(rolls)
    fate = Policy.parse(settings).decide(lambda: left.pop(0))
    assert not left
    return fate


def test_each_fate_has_its_roll() -> None:
    everything: dict[str, object] = {
        "bell.drop": 0.5,
        "bell.duplicate": 0.5,
        "bell.reorder": 0.5,
        "bell.delay": [0.25, 0.75],
    }
    assert decided(everything, 0.4) == Fate(lost=True)
    assert decided(everything, 0.6, 0.0, 0.6, 0.6) == Fate(late=250_000_000)
    assert decided(everything, 0.6, 0.5, 0.4, 0.6) == Fate(late=500_000_000, held=True)
    assert decided(everything, 0.6, 0.0, 0.6, 0.4) == Fate(late=250_000_000, twice=True)


def test_what_no_rule_says_throws_no_dice() -> None:
    assert decided({"bell.storm": 5.0}) == UNTOUCHED
    assert not UNTOUCHED


@pytest.mark.parametrize("key", ["drop", "duplicate", "reorder"])
@pytest.mark.parametrize("value", [-0.1, 1.1, True, "0.5", None])
def test_a_share_lies_between_never_and_always(key: str, value: object) -> None:
    with pytest.raises(XenError, match=f"bell.{key} is no share") as refused:
        Policy.parse({f"bell.{key}": value})
    assert refused.value.errno == EINVAL
    assert Policy.parse({f"bell.{key}": 1}).mediates


@pytest.mark.parametrize("bounds", [[2, 1], [-1, 1], [0, MAX_DELAY + 1], [1], (1, 2), [1, "2"]])
def test_a_delay_has_bounds(bounds: object) -> None:
    with pytest.raises(XenError, match="delay is at most 60 s"):
        Policy.parse({"bell.delay": bounds})
    assert Policy.parse({"bell.delay": [0, MAX_DELAY]}).delay == (0, MAX_DELAY)


@pytest.mark.parametrize("storm", [-1.0, MAX_STORM + 1, "many"])
def test_a_storm_has_bounds(storm: object) -> None:
    with pytest.raises(XenError, match="storm is at most 10000 a second"):
        Policy.parse({"bell.storm": storm})


def test_a_rule_that_breaks_nothing_is_none() -> None:
    with pytest.raises(XenError, match="no bell is to be broken"):
        Policy.parse({"bell.lose": 1.0})
