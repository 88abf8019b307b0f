"""The demo itself: nothing is lost, and its verdict can be bad."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.labs import Commands, commands


@pytest.fixture
def hvsim_() -> Iterator[Commands]:
    with commands() as made:
        yield made


def test_kills_lose_nothing(hvsim_: Commands) -> None:
    done = hvsim_.run("demo", "--kills", "5", "--seed", "11", "--json")
    found = json.loads(done.stdout)
    assert found["complaints"] == []
    assert done.returncode == 0
    assert found["acknowledged"] == found["found"] > 20
    assert (found["integrity"], found["kills"], found["leftovers"]) == ("ok", 5, [])
    assert len(found["recovery_ms"]) == len(found["commit_gap_ms"]) == 5
    assert (found["seed"], found["orderly_shutdown"]) == (11, True)


def test_the_story_for_a_reader(hvsim_: Commands) -> None:
    said = hvsim_.ok("demo", "--seed", "3", "--seconds", "0.5")
    for part in (
        "1. A Xen host comes up",
        "2. The household: xl list",
        "db-primary",
        "3. One device",
        "/local/domain/2/device/vbd/51712",
        'state = "4"',
        "SIGKILL to storage (domain 1)",
        "domain 1 is gone (@releaseDomain)",
        "its backend is now /local/domain/4/backend",
        "what was unanswered is issued again",
        "the next commit is acknowledged",
        "integrity_check       ok",
        "nothing is left",
        "the database is sound",
    ):
        assert part in said, part


@pytest.mark.parametrize("sabotage", ["drop-unflushed", "forget-unanswered"])
def test_negative_control(hvsim_: Commands, sabotage: str) -> None:
    done = hvsim_.run("demo", "--kills", "12", "--seed", "5", "--json", "--sabotage", sabotage)
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert not found["ok"]
    assert any(text.startswith("LOSS") for text in found["complaints"])
    assert found["leftovers"] == []


def test_a_lab_without_a_database_is_refused_before_it_starts(
    hvsim_: Commands, tmp_path: Path
) -> None:
    (tmp_path / "x.toml").write_text('[[domain]]\nname = "x"\nprogram = "domains.guests.idle:main"')
    done = hvsim_.run("demo", "--lab", str(tmp_path / "x.toml"))
    assert done.returncode == 1
    assert "the demo needs a domain with program = 'domains.guests.database:main'" in done.stderr
