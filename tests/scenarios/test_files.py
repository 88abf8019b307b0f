"""A scenario file: what it says, what is refused, and what its seed draws.

Seen red: with a plan that draws from the machine's dice; with `_time` that raises nothing; with a
function of one's own, the disk of commits, or a second load that nobody looks at before the run.
"""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from hvsim.faults.catalogue import FAMILIES, WHEN
from hvsim.faults.scenario.load import NoScenario, is_scenario, load
from hvsim.faults.scenario.plan import plan
from hvsim.faults.scenario.schema import schema
from hvsim.wire.boot import Lockstep
from tests.scenarios.short import host

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "scenarios").glob("*.toml"))

LOAD = """
[[load]]
domain = "web"
args = { rate = 50 }
"""
GOOD = (
    '[scenario]\ntitle = "t"\n'
    + host()
    + LOAD
    + """
[[phase]]
name = "one"
for = "1s"
[[phase.fault]]
when = "100ms..900ms"
target = "web/xvda"
media = "eio"
[[phase.step]]
when = "0s..1s"
stall = "storage"
[[phase.step]]
look = true
[[phase]]
name = "two"
until = [{ domain = "web", count = 3, within = "4s" }]
"""
)


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "it.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_what_a_file_says(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD)
    assert is_scenario(file)
    one = load(file)
    assert (one.name, one.lab.name, one.title, one.seed) == ("it", "it", "t", 0)
    assert [(load.domain, load.history) for load in one.loads] == [("web", "registers")]
    assert one.lab.domains[1].args["rate"] == 50
    first, second = one.phases
    assert first.seconds == 1.0
    assert [act.text for act in first.acts] == [
        "web/xvda media=eio",
        "stall storage",
        "the doctor is asked",
    ]
    assert first.acts[0].at == pytest.approx((0.1, 0.9))
    assert [(goal.domain, goal.count, goal.within) for goal in second.goals] == [("web", 3, 4.0)]
    assert load(file, "other").lab.name == "other"


def test_a_lab_file_is_named_or_is_here(tmp_path: Path) -> None:
    lab = ROOT / "configs" / "single.toml"
    text = f'[scenario]\nlab = "{lab}"\n[[phase]]\nname = "a"\nfor = "1s"\n'
    assert [one.name for one in load(written(tmp_path, text)).lab.domains] == ["guest"]
    assert not is_scenario(lab)
    with pytest.raises(NoScenario, match=r"a lab file is named, and \[image\] is here"):
        load(written(tmp_path, text + host()))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "two"', 'name = "one"', "two phases are called 'one'"),
        ('for = "1s"', "", "either for = TIME or until"),
        ('for = "1s"', 'for = "soon"', "'soon' is no time"),
        ('media = "eio"', 'media = "sand"', "'sand' is not one of eio"),
        ('stall = "storage"', 'stall = "storage"\nkill = "web"', "a step is one of kill"),
        ('domain = "web", count', 'domain = "db", count', "'db' has no [[load]]"),
        ('domain = "web"\nargs', 'domain = "db"\nargs', "no domain of the lab is called 'db'"),
        ('media = "eio"', 'media = "eio"\nclock.jump = "1s"', "make a rule of each"),
        ('when = "0s..1s"', 'when = "1s..x"', "'x' is no time"),
        ("look = true", "looks = true", "unknown key 'looks'"),
        ('target=d.img"', 'target=d.img", "nonsense"', "nonsense"),
        ("[scenario]", "[scenario", "not TOML"),
        ('media = "eio"', 'own = "my_own:stand"', "own: there is no module 'my_own'; put it next"),
        ('media = "eio"', 'own = "json:lods"', "has no function 'lods'"),
        (
            "[[load]]",
            '[[fault]]\ntarget = "web"\nown = "my_own:stand"\n[[load]]',
            "own: there is no module 'my_own'; put it next to the lab file, or install it",
        ),
        (
            'domain = "web"\nargs',
            'domain = "storage"\nhistory = "commits"\nargs',
            "'storage' has no disk on which its commits could be found; name whose disk has them",
        ),
        ("[[phase]]", '[[load]]\ndomain = "web"\n[[phase]]', "'web' has a [[load]] already"),
        ('domain = "web"\nargs', 'domain = "web"\nphase = "x"\nargs', "no phase is called 'x'"),
    ],
)
def test_what_is_no_scenario(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(NoScenario) as refused:
        load(written(tmp_path, GOOD.replace(old, new, 1)))
    assert said in str(refused.value)
    assert all(problem.file.endswith("it.toml") for problem in refused.value.problems)


TURNS = """
[lockstep]
seed = 9
order = "pct"
tape = [[17, 1], [230, 2]]
without = [1]
"""


def test_a_file_that_holds_a_tape(tmp_path: Path) -> None:
    one = load(written(tmp_path, GOOD + TURNS))
    assert one.lockstep == Lockstep(way="tape", tape={17: 1, 230: 2})
    assert (one.seed, set(one.without)) == (9, {0})
    whole, cut = plan(one.phases, 9), plan(one.phases, 9, one.without)
    assert cut == [planned for planned in whole if planned.act.what != "fault"], "as they were"
    no_tape = load(written(tmp_path, GOOD + '[lockstep]\norder = "pct"\n'))
    assert no_tape.lockstep == Lockstep(way="pct")
    assert load(written(tmp_path, GOOD)).lockstep is None
    with pytest.raises(NoScenario, match="4: there are 3 faults and steps"):
        load(written(tmp_path, GOOD + TURNS.replace("[1]", "[4]")))


def test_all_that_is_drawn_is_drawn_from_the_seed(tmp_path: Path) -> None:
    phases = load(written(tmp_path, GOOD)).phases
    made = plan(phases, 7)
    assert made == plan(phases, 7)
    moments = {tuple(one.at for one in plan(phases, seed)) for seed in range(20)}
    assert len(moments) == 20
    assert all(one.act.at[0] <= one.at <= one.act.at[1] for one in made)
    assert [one.at for one in made] == sorted(one.at for one in made)
    seeds = {
        rule.seed for seed in range(20) for one in plan(phases, seed) if (rule := one.act.rule)
    }
    assert None not in seeds
    assert len(seeds) == 20


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_the_scenarios_that_come_with_it(file: Path) -> None:
    one = load(file)
    assert one.text
    assert one.loads
    assert any(phase.goals for phase in one.phases), "liveness"
    assert load(f"scenarios/{file.name}").name == file.stem


def test_no_fault_has_a_word_that_means_a_moment_here() -> None:
    words = [word.key for family in FAMILIES for word in (*family.faults, *family.settings, *WHEN)]
    assert "when" not in words


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert json.loads(json.dumps(schema())) == schema()
    assert {"scenario", "phase", "load", "domain", "image"} <= schema()["properties"].keys()
    assert {"when", "media", "target"} <= schema()["$defs"]["timed_fault"]["properties"].keys()


def test_a_lab_is_told_from_a_scenario(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_text('[lab]\nname = "x"\n', encoding="utf-8")
    with pytest.raises(NoScenario, match=r"a lab, and no scenario: there is no table \[scenario\]"):
        load(file)
