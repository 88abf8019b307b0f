"""A guest that may die, and commits that another domain's disk must hold.

Seen red: without `expendable`, "everything was done as planned" fails, as what it names has gone;
with a second kill that is not done, the same; with a rule that does not wait for whom it is about.
A kill of whom there never was held ("it was dead by then") where nobody looked at names before.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hvsim.faults.scenario.load import NoScenario, load
from hvsim.faults.scenario.run import AWAITED
from tests.scenarios.short import SLOW, TEXT
from tests.support.labs import commands

VICTIM = """
[[domain]]
name = "victim"
memory = 32
program = "domains.guests.idle:main"
on_crash = "destroy"
"""
PHASES = """
[[phase]]
name = "it dies"
for = "1s"
[[phase.fault]]
target = "xenstored"
delete = "device"
domain = "victim"
[[phase.step]]
kill = "victim"
[[phase.step]]
when = "50ms"
kill = "victim"
[[phase]]
name = "it is gone"
until = [{ domain = "web", count = 5, within = "30s" }]
[[phase.fault]]
target = "victim"
cpu = "50%"
"""


def test_who_is_expendable_may_die(tmp_path: Path) -> None:
    head = TEXT.partition("[[load]]")
    text = head[0] + VICTIM + head[1] + head[2].partition("[[phase]]")[0] + PHASES
    text = text.replace('title = "short"', 'title = "short"\nexpendable = ["victim"]')
    file = tmp_path / "it.toml"
    file.write_text(text, encoding="utf-8")
    with commands() as hvsim:
        done = hvsim.run("run", str(file), "--json")
    row = json.loads(done.stdout)
    assert [one for one in row["checks"] if not one["held"]] == []
    assert row["acts"][2]["said"] == ["it was dead by then"]
    last = row["acts"][-1]
    assert "there is no such domain" in last["trouble"]
    assert last["begun"] - row["phases"][-1]["begun"] >= AWAITED, "it might have come back"
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("old", "new", "sign"),
    [
        ('title = "short"', 'expendable = ["nobody"]', "no domain of the lab is called 'nobody'"),
        ('kill = "storage"', 'kill = "storag"', "kill: 'storag' is nobody; there are storage, web"),
        (
            'kill = "storage"',
            'kill = "storage"\nprocess = "mian"',
            "kill: storage has no process 'mian'; it has main",
        ),
        (
            'kill = "storage"',
            'kill = "Domain-0"\nprocess = "toolstak"',
            "kill: Domain-0 has no process 'toolstak'; it has xenstored, kernel",
        ),
        (
            'kill = "storage"',
            'kill = "xenstored"\nprocess = "main"',
            "kill: xenstored has no process 'main'; it is one; leave process out",
        ),
        (
            'kill = "storage"',
            'kill = "qemu-2"\nprocess = "main"',
            "kill: qemu-2 has no process 'main'; it is one; leave process out",
        ),
        (
            'kill = "storage"\n[[phase]]',
            'kill = "web"\n[[phase]]',
            "phase 'storm': kill web: web is made in phase 'healed'",
        ),
        ("[[load]]\n", '[[load]]\nimage = "storage"\n', "'storage' is no domain with a disk"),
    ],
)
def test_what_nobody_is_or_has_is_refused(tmp_path: Path, old: str, new: str, sign: str) -> None:
    file = tmp_path / "it.toml"
    text = TEXT.replace(old, new).replace("MEDIA", SLOW)
    if 'kill = "web"' in text:
        text = text.replace("[[load]]\n", '[[load]]\nphase = "healed"\n')
    file.write_text(text, encoding="utf-8")
    with pytest.raises(NoScenario, match=sign):
        load(file)
