"""What is drawn is a rule that the grammar takes, of a family that fits the target."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hvsim.explore.strategies import families, rules, tapes
from hvsim.faults.grammar import Draft, parse

TARGETS = ("web/xvda", "web/eth0", "storage", "storage <-> web", "xenstored")
KINDS = {"web/xvda": "device", "web/eth0": "device", "storage": "domain", "xenstored": "store"}


@settings(max_examples=200)
@given(rules(*TARGETS))
def test_a_rule_fits(rule: Draft) -> None:
    assert rule.target in TARGETS
    assert KINDS.get(rule.target, "pair") in rule.family.targets
    if rule.family.types:
        assert rule.target != "web/xvda" or "vbd" in rule.family.types
        assert rule.target != "web/eth0" or "vif" in rule.family.types
    words = rule.text.removeprefix(f'"{rule.target}"').removeprefix(rule.target).split()
    assert parse(rule.target, words) == rule


def test_every_target_has_families() -> None:
    named = {target: {family.name for family in families(target)} for target in TARGETS}
    assert "media" in named["web/xvda"]
    assert "the network" not in named["web/xvda"]
    assert "the network" in named["web/eth0"]
    assert "media" not in named["web/eth0"]
    assert "process" in named["storage"]
    assert "watches" in named["xenstored"]
    assert "bell" in named["storage <-> web"]


@given(tapes(5), st.just(5))
def test_a_tape_is_in_order(tape: tuple[tuple[int, int], ...], most: int) -> None:
    assert len(tape) <= most
    assert list(tape) == sorted(dict(tape).items())
    assert all(choice > 0 for _, choice in tape)
