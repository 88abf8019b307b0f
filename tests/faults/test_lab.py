"""Rules of a lab file, and of the command line, in a real lab.

Seen red: `bring_up` without ``before_run`` (the first test), `Faults.remove` that tells nobody.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.labs import Commands, commands

LAB = """
[lab]
name = "broken"
[[image]]
path = "d.img"
size = "4M"
scratch = true
[[fault]]
target = "web/xvda"
media = "eio"
op = "discard"
[[fault]]
target = "web"
clock.jump = "+2h"
[[domain]]
name = "storage"
role = "driver"
memory = 32
[[domain]]
name = "web"
memory = 32
program = "domains.guests.idle:main"
disk = ["format=raw,vdev=xvda,access=rw,backend=storage,target=d.img"]
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    file = tmp_path_factory.mktemp("lab") / "broken.toml"
    file.write_text(LAB)
    with commands() as made:
        made.ok("up", "--quiet", str(file))
        yield made
        assert "nothing of it is left" in made.ok("down")


def rules(lab: Commands) -> list[dict[str, object]]:
    found: list[dict[str, object]] = lab.json("fault", "list")["rules"]
    return found


def test_rules_of_the_file_stand_from_the_start(lab: Commands) -> None:
    first, second = rules(lab)[:2]
    assert (first["number"], first["rule"]) == (1, "web/xvda media=eio op=discard")
    assert (second["number"], second["fired"]) == (2, 1)
    assert second["last"] == "d2: clock +7200 s"
    assert all(row["trouble"] == "" for row in rules(lab))


def test_they_stand_before_their_domain_runs(lab: Commands) -> None:
    """Red when they are entered once all domains have been started."""
    lines = [json.loads(line) for line in lab.ok("events", "--json").splitlines()]
    [added] = [
        row["seq"] for row in lines if row["kind"] == "fault.added" and row["text"][:2] == "1:"
    ]
    spawned = [
        row["seq"] for row in lines if row["kind"] == "process.spawned" and row["domid"] == 2
    ]
    assert added < min(spawned)


def test_added_listed_and_removed(lab: Commands) -> None:
    said = lab.ok("fault", "add", "storage", "cpu=50%")
    number = said.split()[1].rstrip(":")
    assert said == f"rule {number}: storage cpu=50%\n"
    assert f"{number}     1      storage cpu=50%" in lab.ok("fault", "list")
    assert lab.ok("fault", "remove", number) == f"removed {number}\n"
    assert number not in [str(row["number"]) for row in rules(lab)]
    lines = [json.loads(line) for line in lab.ok("events", "--json").splitlines()]
    kinds = [(row["kind"], row["text"]) for row in lines if "fault" in row["kind"]]
    assert ("fault.added", f"{number}: storage cpu=50%") in kinds
    assert ("fault.removed", f"{number}: storage cpu=50%; it fired 1 times") in kinds


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "moon", "cpu=50%"], "moon: there is no such domain"),
        (["add", "web"], "web: what is to be broken?"),
        (["add"], "a target is wanted"),
        (["remove"], "the number of a rule, or all is wanted"),
        (["remove", "x"], "'x' is no number of a rule, nor all"),
        (["remove", "999"], "there is no rule 999; `hvsim fault list` shows them"),
    ],
)
def test_what_cannot_be_done_is_said(lab: Commands, words: list[str], said: str) -> None:
    done = lab.run("fault", *words)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_all_that_there_is(lab: Commands) -> None:
    assert "media=eio" in lab.ok("fault", "list", "--available")
    found = lab.json("fault", "list", "--available")["faults"]
    assert {
        key: row[key] for row in found for key in ("word", "about") if row["word"] == "media=eio"
    } == {"word": "media=eio", "about": "device vbd, domain"}


def test_every_rule_of_a_file_that_makes_no_sense_is_told(lab: Commands, tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(LAB.replace('"eio"', '"explode"').replace("+2h", "tomorrow"))
    done = lab.run("validate", str(file))
    assert done.returncode == 1
    assert "bad.toml:8: fault number 1: media: 'explode' is none of" in done.stderr
    assert "bad.toml:12: fault number 2: clock.jump: 'tomorrow' is no time" in done.stderr
