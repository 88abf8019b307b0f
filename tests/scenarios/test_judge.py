"""Who must still be there when all is over: whom nobody was to kill in this run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from hvsim.faults.scenario.history import History
from hvsim.faults.scenario.judge import Judge
from hvsim.faults.scenario.load import load
from hvsim.faults.scenario.model import Scenario
from hvsim.faults.scenario.witness import Witness
from hvsim.lab.rundir import RunDir
from hvsim.lab.up import Running
from tests.scenarios.short import LAB

KILLS = """
[[phase]]
name = "one"
for = "1s"
[[phase.step]]
look = true
[[phase.step]]
kill = "web"
"""
ENDS = """
[[phase]]
name = "one"
for = "1s"
[[phase.fault]]
target = "web"
process = "crash"
"""


def gone(folder: Path, scenario: Scenario) -> dict[str, str]:
    """Who should be there, in a run after which no guest is."""
    running = SimpleNamespace(domids={"storage": 1, "web": 2}, run=RunDir(folder))
    witness = SimpleNamespace(flags=dict)
    return Judge(scenario, cast("Running", running), cast("Witness", witness))._guests()


@pytest.mark.parametrize("phase", [KILLS, ENDS])
def test_whom_nobody_was_to_kill_in_this_run_is_missed(tmp_path: Path, phase: str) -> None:
    """Red when an act that was left out excuses a death."""
    file = tmp_path / "it.toml"
    file.write_text(LAB + phase, encoding="utf-8")
    scenario = load(file)
    assert gone(tmp_path, scenario) == {}
    last = sum(len(one.acts) for one in scenario.phases) - 1
    assert gone(tmp_path, replace(scenario, without=frozenset({last}))) == {"web": "has ended"}


@pytest.mark.parametrize("kind", ["commits", "registers", "secrets"])
def test_nothing_is_judged_by_half_a_history(tmp_path: Path, kind: str) -> None:
    """Red when it is: a value whose write is not known counts as nobody's."""
    file = tmp_path / "it.toml"
    file.write_text(LAB + KILLS, encoding="utf-8")
    judge = Judge(load(file), cast("Running", None), cast("Witness", None))
    judge._client(History("web", kind, lost=True))
    assert list(judge.verdicts) == [kind]
    [problem] = judge.verdicts[kind]
    assert "told more between two looks" in problem
