"""Guests that pass frames themselves are in lockstep, with everything that befalls their wires.

Seen red: with a switch that loses a frame now and then by the machine's dice, and with a guest
whose builder starts a network stack of Linux' all the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.labs import ROOT, commands

SCENARIO = ROOT / "scenarios" / "frames.toml"


def run(ledger: Path, *words: str, hash_seed: str = "random") -> dict[str, Any]:
    with commands() as hvsim:
        done = hvsim.run(
            *("run", str(SCENARIO), "--lockstep", "--json", "--ledger", str(ledger), *words),
            PYTHONHASHSEED=hash_seed,
        )
    assert done.returncode == 0, (done.stdout, done.stderr)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def test_two_runs_of_a_seed_are_the_same_and_another_is_not(tmp_path: Path) -> None:
    first, second, other = (tmp_path / name for name in ("first", "second", "other"))
    row = run(first, "--seed", "7", hash_seed="1")
    assert {act["what"] for act in row["acts"]} == {"fault", "kill"}
    assert all(act["fired"] for act in row["acts"] if act["what"] == "fault")
    run(second, "--seed", "7", "--name", "another", hash_seed="2")
    assert first.read_bytes() == second.read_bytes()
    kinds = [json.loads(line)["kind"] for line in first.read_text(encoding="utf-8").splitlines()]
    assert "lockstep.stray" not in kinds
    run(other, "--seed", "8")
    assert first.read_bytes() != other.read_bytes()
