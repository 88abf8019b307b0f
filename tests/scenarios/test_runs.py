"""Real runs, short: one that must hold, and one with a disk that lies, which must fail.

The second is the negative control of the whole: its flushes are acknowledged and not done, and a
crash of the storage domain loses what was held back.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tests.scenarios.short import TEXT
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
    row = run(tmp_path, "slow", 0)
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
    row = run(tmp_path, "lost-flush", 1)
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
    file = tmp_path / "short.toml"
    calm = TEXT.partition('[[phase]]\nname = "storm"')[0]
    fault = '[[fault]]\ntarget = "web"\nown = "nowhere:nothing"\n'
    file.write_text(calm + fault, encoding="utf-8")
    with commands() as hvsim:
        done = hvsim.run("run", str(file), "--json")
    assert done.returncode == 1, (done.stdout, done.stderr)
    [acts] = [one for one in json.loads(done.stdout)["checks"] if not one["held"]]
    assert acts["name"] == "everything was done as planned"
    assert "nowhere" in acts["problems"][0]
