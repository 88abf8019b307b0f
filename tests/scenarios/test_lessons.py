"""The lessons show what they say: the trouble, who is named for it, and the cure.

Seen red: the stalled backend without its stall (web and mail are told something), the frozen
handshake without its rule.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.labs import commands

ROOT = Path(__file__).resolve().parents[2]


def run(file: Path | str, code: int = 0) -> dict[str, Any]:
    with commands() as hvsim:
        done = hvsim.run("run", str(file), "--json")
    assert done.returncode == code, (done.stdout, done.stderr)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def doctor(row: dict[str, Any]) -> str:
    return "\n".join(line for act in row["acts"] if act["what"] == "look" for line in act["said"])


@pytest.mark.parametrize(
    ("lesson", "words", "cure"),
    [
        (
            "stalled-backend",
            ("it is stopped (SIGSTOP)", "Cure: hvsim fault resume storage"),
            ["resume storage"],
        ),
        ("stuck-in-state-2", ("backend InitWait since ", "Cure: hvsim fault remove 1"), []),
        ("interrupt-storm", ("rung without a cause", "Cure: hvsim fault remove 1"), []),
    ],
)
def test_a_lesson_shows_names_and_cures(
    lesson: str, words: tuple[str, ...], cure: list[str]
) -> None:
    """The cure is the one that the doctor names; a rule goes with its phase.  Red with a lesson
    that does more, and later than its guests go on."""
    row = run(f"scenarios/{lesson}.toml")
    said = doctor(row)
    for word in words:
        assert word in said
    assert any(act["fired"] or act["what"] in ("stall", "kill") for act in row["acts"])
    last = row["phases"][-1]["name"]
    assert [act["text"] for act in row["acts"] if act["phase"] == last] == cure


def test_the_storm_holds_and_its_page_says_so(tmp_path: Path) -> None:
    page = tmp_path / "storm.html"
    with commands() as hvsim:
        said = hvsim.ok("run", "scenarios/storage-storm.toml", "--seed", "3", "--html", str(page))
    assert "storage-storm: everything held" in said
    assert "db: nothing acknowledged is lost" in said
    assert "again: hvsim run scenarios/storage-storm.toml --seed 3" in said
    assert "Everything held" in page.read_text(encoding="utf-8")


def test_a_lesson_whose_trouble_does_not_come_fails(tmp_path: Path) -> None:
    text = (ROOT / "scenarios" / "stalled-backend.toml").read_text(encoding="utf-8")
    broken = tmp_path / "broken.toml"
    broken.write_text(text.replace('stall = "storage"', 'resume = "storage"'), encoding="utf-8")
    row = run(broken, 1)
    failed = {check["name"] for check in row["checks"] if not check["held"]}
    assert failed == {
        "it stands still: web is told nothing",
        "it stands still: mail is told nothing",
    }
