"""The scenarios that the soak draws: each can be read, one seed has one text, and every word of a
fault and every step comes up.

Seen red: with each recipe taken out of RECIPES, but for `_slow` and `_victim_media`, whose words
another draws as well; with a `drawn` that asks the machine's dice.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hvsim.faults.catalogue import FAMILIES
from hvsim.faults.scenario.load import load
from tests.soak import outcomes
from tests.soak.weather import THREE_TIER, TWO_TIER, drawn


def test_every_scenario_can_be_read_and_every_fault_comes_up(tmp_path: Path) -> None:
    seen: set[str] = set()
    steps: set[str] = set()
    for seed in range(150):
        for cast in (TWO_TIER, THREE_TIER):
            file = tmp_path / f"weather-{seed}.toml"
            file.write_text(drawn(seed, cast), encoding="utf-8")
            for phase in load(file).phases:
                for act in phase.acts:
                    steps.add(act.what)
                    if act.rule is not None:
                        seen |= {f"{key}={said}" for key, said in act.rule.settings.items()}
                        seen |= set(act.rule.settings)
    missing = [
        word.key
        for family in FAMILIES
        for word in family.faults
        if word.key not in seen and word.key.partition("=")[0] not in NOT_DRAWN
    ]
    assert missing == []
    assert steps == {"fault", "kill", "stall", "resume"}
    assert {"request=EAGAIN", "request=EIO"} <= seen, "an errno of each kind: try again, and no"


NOT_DRAWN = {"own"}
"""A function of somebody's own."""


def test_one_seed_has_one_text() -> None:
    assert drawn(7, THREE_TIER) == drawn(7, THREE_TIER)
    assert drawn(7, THREE_TIER) != drawn(8, THREE_TIER)


HANGS = """
import signal, time
signal.signal(signal.SIGINT, signal.{handler})
print(flush=True)
time.sleep(1000)
"""


def started(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("handler", "wrong"),
    [
        ("SIG_DFL", ["it has not ended within 0.1 s"]),
        ("SIG_IGN", ["it has not ended within 0.1 s", "nor 0.1 s after Ctrl-C"]),
    ],
)
def test_a_scenario_that_hangs_is_told_of(
    monkeypatch: pytest.MonkeyPatch, handler: str, wrong: list[str]
) -> None:
    """And is waited for no longer.  Red with a soak that lets the error out: it then waits for the
    command without an end, and nobody knows which scenario it was."""
    monkeypatch.setattr(outcomes, "GRACE", 0.1 if handler == "SIG_IGN" else 60.0)
    with started(HANGS.format(handler=handler)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "\n"
        assert outcomes.told(process, 0.1) == wrong
        assert process.returncode is not None


@pytest.mark.parametrize(
    ("program", "wrong"),
    [
        ("print('{}')", []),
        ("raise SystemExit('hvsim: no')", ["exit status 1"]),
        ("print('hvsim: no'); raise SystemExit(2)", ["hvsim: no\n"]),
    ],
)
def test_what_was_wrong_in_one_that_ends(program: str, wrong: list[str]) -> None:
    with started(program) as process:
        assert outcomes.told(process, 60.0) == wrong
