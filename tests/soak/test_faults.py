"""Random faults of all kinds over labs of two and three tiers: nothing acknowledged is lost, no
byte is stale or foreign, no grant leaks, no handshake goes astray, everybody goes on when it has
healed, and nothing is left.

`make soak` for HVSIM_SOAK_SECONDS (1800); HVSIM_SOAK_SEED draws the same scenarios again.  What
fails is kept as a file in build/soak, with the line that runs it again.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.soak.outcomes import told
from tests.soak.weather import THREE_TIER, drawn, rounds
from tests.support.labs import commands

pytestmark = pytest.mark.soak

SECONDS = float(os.environ.get("HVSIM_SOAK_SECONDS", "1800"))
KEPT = Path(__file__).resolve().parents[2] / "build" / "soak"
FAILURES_MAX = 5
PATIENCE = 400.0
"""Seconds for one scenario: its phases, what each client may take to go on, and what is judged."""


@pytest.mark.timeout(SECONDS + 600)
def test_whatever_the_weather_nothing_is_lost(tmp_path: Path) -> None:
    seed = int(os.environ.get("HVSIM_SOAK_SEED") or random.SystemRandom().randrange(1 << 31))
    print(f"HVSIM_SOAK_SEED={seed}, {SECONDS:g} s")
    deadline, ran, failures = time.monotonic() + SECONDS, 0, list[str]()
    for one, cast, lockstep in rounds(seed):
        if time.monotonic() > deadline or len(failures) == FAILURES_MAX:
            break
        text = drawn(one, cast)
        file = tmp_path / f"weather-{one}.toml"
        file.write_text(text, encoding="utf-8")
        words = ["run", str(file), "--json", *(["--lockstep"] if lockstep else [])]
        with commands() as hvsim, hvsim.start(*words) as process:
            wrong = told(process, PATIENCE)
        ran += 1
        tiers = "three tiers" if cast is THREE_TIER else "two tiers"
        print(f"{ran}: seed {one}, {tiers}{' in lockstep' * lockstep}: {wrong or 'held'}")
        if wrong:
            KEPT.mkdir(parents=True, exist_ok=True)
            kept = KEPT / file.name
            kept.write_text(text, encoding="utf-8")
            again = f"hvsim run {kept} --seed {one}{' --lockstep' * lockstep}"
            failures.append("\n  ".join([again, *wrong]))
            print(f"   again: {again}")
    assert ran
    assert not failures, "\n".join(failures)
