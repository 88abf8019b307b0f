"""Rules of a lab file, and of the command line, in a real lab.

Seen red: `bring_up` without ``before_run`` (the first test), `Faults.remove` that tells nobody.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from hvsim.cli import main
from hvsim.faults.rules import NoRule
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
    ("words", "why"),
    [
        (("web", "own=nowhere:x"), "no module 'nowhere'"),
        (("web/xvda", "media=full", "op=read"), "media=full is about a write, and never about op="),
    ],
)
def test_who_adds_what_cannot_be_put_in_place_is_told(
    lab: Commands, words: tuple[str, ...], why: str
) -> None:
    """Red when nobody waits for the process that is to do it: it was added, and that was all."""
    done = lab.run("fault", "add", *words)
    assert (done.returncode, done.stdout) == (1, "")
    number = str(rules(lab)[-1]["number"])
    assert f"rule {number} breaks nothing: " in done.stderr
    assert why in done.stderr
    assert f"`hvsim fault remove {number}` takes it away" in done.stderr
    lab.ok("fault", "remove", number)


def test_a_rule_of_who_stands_still_is_not_waited_for_without_end(lab: Commands) -> None:
    lab.ok("fault", "stall", "storage")
    said = lab.ok("fault", "add", "web/xvda", "media=eio", "op=discard")
    lab.ok("fault", "remove", said.split()[1].rstrip(":"))
    lab.ok("fault", "resume", "storage")


def test_all_are_removed_though_the_time_of_one_has_come(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Red when a rule that is no more ends the command: those behind it stood on."""

    def remove(_door: object, number: int) -> None:
        if number == 1:
            raise NoRule("there is no rule 1")

    there = [SimpleNamespace(rule=SimpleNamespace(number=number)) for number in (1, 2)]
    monkeypatch.setattr("hvsim.commands.fault.choose", lambda _: "a lab")
    monkeypatch.setattr("hvsim.faults.rules.visit", lambda lab: nullcontext(lab))
    monkeypatch.setattr("hvsim.faults.rules.standing", lambda _: there)
    monkeypatch.setattr("hvsim.faults.rules.remove", remove)
    assert main(["fault", "remove", "all"]) == 0
    assert capsys.readouterr().out == "removed 2\n"


def test_several_are_removed_at_once(lab: Commands) -> None:
    """Red when the first number alone is read."""
    numbers = [lab.ok("fault", "add", "storage", f"cpu={n}0%").split()[1][:-1] for n in (8, 9)]
    assert lab.ok("fault", "remove", *numbers) == f"removed {', '.join(numbers)}\n"
    assert not {*numbers} & {str(row["number"]) for row in rules(lab)}


def test_none_is_removed_when_one_of_them_is_not_there(lab: Commands) -> None:
    """Red when each is looked for when its turn comes: the first was gone, and nobody said so."""
    number = lab.ok("fault", "add", "storage", "cpu=70%").split()[1][:-1]
    done = lab.run("fault", "remove", number, "998", "999")
    assert "there is no rule 998, 999; `hvsim fault list` shows them" in done.stderr
    assert lab.ok("fault", "remove", number) == f"removed {number}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "moon", "cpu=50%"], "moon: there is no such domain"),
        (["add", "web"], "web: what is to be broken?"),
        (["add"], "a target is wanted"),
        (["remove"], "the number of a rule, or all is wanted"),
        (["remove", "x"], "'x' is no number of a rule, nor all"),
        (["remove", "999"], "there is no rule 999; `hvsim fault list` shows them"),
        # Red when what is too much comes to nothing without a word:
        (["remove", "1", "x"], "'x' is no number of a rule, nor all"),
        (["remove", "9" * 40], "is no number of a rule, nor all"),
        # Red when it is said that 'all' is no number, nor all:
        (["remove", "all", "3"], "all, or numbers of rules; not both"),
        (["list", "x" * 300], "xxx...' is too much"),
        (["stall", "web", "storage"], "one target is wanted, and 'storage' is too much"),
        (["list", "web"], "it lists all rules, and 'web' is too much"),
        (["add", "web", "cpu=50%", "--process", "main"], "--process is of kill, stall, resume"),
        # Red when the hypervisor keeps its reasons to itself:
        (["add", "xenstored", "process=crash"], "a process of dom0 is killed (EINVAL)"),
        (["add", "storage -> web", "bell.delay=5min"], "bell.delay is at most 60 s (EINVAL)"),
        (["add", "Domain-0", "cpu=50%"], "dom0's processes are slow one by one"),
        (["add", "", "process=kill"], "'' names nobody"),
    ],
)
def test_what_cannot_be_done_is_said(lab: Commands, words: list[str], said: str) -> None:
    done = lab.run("fault", *words)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_who_keeps_a_rule_from_being_made_is_named(lab: Commands) -> None:
    """Red when a hypervisor that stands still is a silent one, and whom nobody can tell of then is
    not there: "web: there is no such domain; there are "."""
    lab.ok("fault", "stall", "hypervisor")
    try:
        for words in (["add", "web", "cpu=50%"], ["list"], ["remove", "all"]):
            done = lab.run("fault", *words)
            assert (done.returncode, "stands still (SIGSTOP)" in done.stderr) == (1, True), done
    finally:
        lab.ok("fault", "resume", "hypervisor")
    for who in ("toolstack", "xenstored"):
        lab.ok("fault", "stall", who)
    try:
        said = lab.run("fault", "add", "web/xvda", "media=eio").stderr
    finally:
        for who in ("xenstored", "toolstack"):
            lab.ok("fault", "resume", who)
    assert "not everything could be told: " in said
    assert "xenstored" in said


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


def test_of_a_domain_that_has_ended_that_is_said(lab: Commands) -> None:
    """Red when it is taken for one that never was.  The last one: web is gone then."""
    lab.ok("xl", "destroy", "web")
    done = lab.run("fault", "add", "web/xvda", "media=eio")
    assert done.returncode == 1
    assert "(web has ended: `hvsim logs web` says how)" in done.stderr
    assert "has ended" not in lab.run("fault", "add", "moon", "media=eio").stderr
