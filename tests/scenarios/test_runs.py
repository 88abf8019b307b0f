"""Real runs, short: one that must hold, and one with a disk that lies, which must fail.

The second is the negative control of the whole: its flushes are acknowledged and not done, and a
crash of the storage domain loses what was held back.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from hvsim.errors import HvsimError
from hvsim.faults.scenario.load import load
from hvsim.faults.scenario.model import Act
from hvsim.faults.scenario.onlooker import Onlooker
from hvsim.faults.scenario.run import run as run_it
from tests.scenarios.short import LOST_FLUSH, SLOW, TEXT
from tests.support.labs import commands


def run(tmp_path: Path, media: str, code: int) -> dict[str, Any]:
    file = tmp_path / "short.toml"
    file.write_text(TEXT.replace("MEDIA", media), encoding="utf-8")
    ledger, xml = tmp_path / "ledger.jsonl", tmp_path / "junit.xml"
    with commands() as hvsim:
        done = hvsim.run(
            *("run", str(file), "--seed", "5", "--json"),
            *("--ledger", str(ledger), "--junit", str(xml)),
        )
        assert json.loads(hvsim.ok("labs", "--json")) == [], "the lab is gone"
    assert done.returncode == code, (done.stdout, done.stderr)
    row: dict[str, Any] = json.loads(done.stdout)
    kinds = [json.loads(line)["kind"] for line in ledger.read_text(encoding="utf-8").splitlines()]
    assert kinds.count("fault.added") == kinds.count("fault.removed") == 1
    assert "fault.fired" in kinds
    cases = ElementTree.parse(xml).getroot().findall(".//testcase")
    assert [case.get("name") for case in cases] == [check["name"] for check in row["checks"]]
    return row


def test_a_storm_over_a_sound_host_holds(tmp_path: Path) -> None:
    row = run(tmp_path, SLOW, 0)
    assert row["ok"]
    assert all(check["held"] for check in row["checks"])
    assert [act["what"] for act in row["acts"]] == ["fault", "kill"]
    assert row["acts"][0]["fired"] > 0
    [client] = row["clients"]
    assert client["told"] == sum(client["pulse"]) >= 40
    assert {check["name"].rpartition(": ")[2] for check in row["checks"]} == {
        "everything was done as planned",
        "every guest is there",
        "no grant leaks",
        "no step of a handshake breaks a rule",
        "no device closes without a word",
        "every disk has its size",
        "no stale or foreign byte",
        "registers are linearizable",
        "web goes on",
        "nothing is left",
    }


def test_a_disk_that_lies_is_found(tmp_path: Path) -> None:
    row = run(tmp_path, LOST_FLUSH, 1)
    failed = {check["name"] for check in row["checks"] if not check["held"]}
    assert failed == {"web: registers are linearizable"}


def test_a_client_that_comes_in_a_phase(tmp_path: Path) -> None:
    file = tmp_path / "late.toml"
    text = TEXT.replace("registers = 6, reads = 75 }", 'registers = 6 }\nphase = "healed"', 1)
    head, _, rest = text.partition('[[phase]]\nname = "calm"')
    healed = rest[rest.index('[[phase]]\nname = "healed"') :]
    calm = '[[phase]]\nname = "alone"\nfor = "300ms"\n'
    file.write_text(head + calm + healed, encoding="utf-8")
    with commands() as hvsim:
        row = hvsim.json("run", str(file))
    assert row["ok"]
    [client] = row["clients"]
    alone = row["phases"][0]
    quiet = int(alone["ended"] / row["seconds"] * 100)
    assert not any(client["pulse"][:quiet]), "it was not there"
    assert client["told"] >= 20


def test_what_is_no_scenario_ends_with_2(tmp_path: Path) -> None:
    file = tmp_path / "no.toml"
    file.write_text('[scenario]\n[[phase]]\nname = "a"\n', encoding="utf-8")
    with commands() as hvsim:
        done = hvsim.run("run", str(file))
        assert done.returncode == 2
        assert "no.toml" in done.stderr
        assert hvsim.run("validate", str(file)).returncode == 1
        assert "sound: lab storage-storm" in hvsim.ok("validate", "scenarios/storage-storm.toml")
        assert json.loads(hvsim.ok("validate", "--schema", "scenario"))["title"]


def test_a_rule_of_the_lab_that_cannot_be_put_in_place_fails_the_run(tmp_path: Path) -> None:
    """Red when the ledger's refusals of rules that no phase has entered are not looked at."""
    of_lab = '[[fault]]\ntarget = "web"\nown = "picky:stand"\n'
    assert _refused(tmp_path, of_lab) == ["not in this house"]


def test_a_rule_that_could_not_be_put_in_place_and_whose_time_is_over_fails_the_run(
    tmp_path: Path,
) -> None:
    """Red when what the ledger says of it is left to the look at the end of its phase: it is gone
    by then, and everything held."""
    of_phase = '[[phase.fault]]\ntarget = "web"\nown = "picky:stand"\nfor = "200ms"\n'
    after = '[[phase]]\nname = "after"\nfor = "500ms"\n'
    assert _refused(tmp_path, after + of_phase) == ["not in this house"]


def _refused(folder: Path, more: str) -> list[str]:
    """What is said of a run with a rule that the guest's process cannot put in place."""
    file = folder / "short.toml"
    calm = TEXT.partition('[[phase]]\nname = "storm"')[0]
    file.write_text(calm + more, encoding="utf-8")
    picky = 'def stand(fault):\n    raise ValueError("not in this house")\n'
    (folder / "picky.py").write_text(picky, encoding="utf-8")
    with commands() as hvsim:
        done = hvsim.run("run", str(file), "--json")
    assert done.returncode == 1, (done.stdout, done.stderr)
    [acts] = [one for one in json.loads(done.stdout)["checks"] if not one["held"]]
    assert acts["name"] == "everything was done as planned"
    problems: list[str] = acts["problems"]
    return problems


class _Impatient(Onlooker):
    """Ends the phases as soon as something was done."""

    def __init__(self) -> None:
        self.acts = 0

    def acting(self, act: Act) -> None:
        self.acts += 1

    def settled(self) -> bool:
        if self.acts:
            raise HvsimError("enough")
        return True


def test_rules_of_a_phase_that_was_cut_short_are_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red when nobody lifts them: they stand while all is judged, and the story says that their
    time was over."""
    file = tmp_path / "short.toml"
    fault = '[[phase.fault]]\ntarget = "web/xvda"\nmedia = "slow"\nby = "1ms"\n'
    head, _, rest = TEXT.partition('[[phase]]\nname = "storm"')
    assert rest
    file.write_text(head + fault, encoding="utf-8")
    with commands() as hvsim:
        monkeypatch.setenv("HVSIM_RUN_DIR", str(hvsim.base))
        row, _ = run_it(load(file), 1, "", lambda _: None, onlooker=_Impatient())
    [act] = row["acts"]
    assert act["ended"] is not None
    assert act["fired"] is not None
    [failed] = [one for one in row["checks"] if not one["held"]]
    assert failed["problems"] == ["the phases ended before their time: enough"]


class _Late(Onlooker):
    """Keeps whoever breaks it a second from doing so."""

    def acting(self, act: Act) -> None:
        time.sleep(1.0)


def test_nobody_is_to_be_quiet_before_it_was_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule waits for whom it is about, and whoever enters it for the machine.  Red when its
    moment is the one that was planned: what was told until then is held against its client."""
    file = tmp_path / "short.toml"
    calm = TEXT.partition('[[phase]]\nname = "storm"')[0]
    fault = '[[phase.fault]]\ntarget = "web/xvda"\nanswer = "never"\n'
    silent = '[[phase]]\nname = "storm"\nfor = "2s"\nquiet = ["web"]\n'
    file.write_text(calm + silent + fault, encoding="utf-8")
    with commands() as hvsim:
        monkeypatch.setenv("HVSIM_RUN_DIR", str(hvsim.base))
        row, _ = run_it(load(file), 1, "", lambda _: None, onlooker=_Late())
    [quiet] = [one for one in row["checks"] if one["name"] == "storm: web is told nothing"]
    assert quiet["held"], quiet["problems"]
