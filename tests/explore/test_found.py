"""The file that replays: the scenario as it was, and how turns are taken.

Seen red: with an earlier search's table kept; with `without` counted from 0.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from hvsim.explore.explore import replays_in, shifted
from hvsim.explore.found import MARK, text_of
from hvsim.explore.job import Job
from hvsim.faults.scenario.load import load
from hvsim.lab.rundir import is_lab_name
from hvsim.wire.boot import Lockstep

GOOD = """# mine
[scenario]
title = "t"
seed = 3
[[domain]]
name = "a"
program = "domains.guests.idle:main"
[[phase]]
name = "one"
for = "1s"
[[phase.step]]
stall = "a"
[[phase.step]]
resume = "a"
"""
TAPE = tuple((number * 7, 1 + number % 3) for number in range(30))


def found(tmp_path: Path, original: str, job: Job) -> Path:
    file, out = tmp_path / "it.toml", tmp_path / "found.toml"
    file.write_text(original, encoding="utf-8")
    text = text_of(original, load(file), job, "a check", "what\nit \x1bsaid", str(out))
    out.write_text(text, encoding="utf-8")
    return out


def test_it_is_read_again(tmp_path: Path) -> None:
    job = Job("it.toml", "", 9, "tape", TAPE, frozenset({1}))
    out = found(tmp_path, GOOD, job)
    one = load(out)
    assert (one.seed, one.lockstep) == (9, Lockstep(way="tape", tape=dict(TAPE)))
    assert set(one.without) == {1}
    text = out.read_text(encoding="utf-8")
    assert text.startswith(GOOD)
    assert f"hvsim run {out} --lockstep" in text
    assert "#   2: one: resume a" in text
    assert "\x1b" not in text


def test_what_was_found_can_be_explored(tmp_path: Path) -> None:
    first = found(tmp_path, GOOD, Job("it.toml", "", 9, "tape", TAPE, frozenset({1})))
    again = Job("it.toml", "", 11, "pct", (), frozenset({0}))
    one = load(found(tmp_path, first.read_text(encoding="utf-8"), again))
    assert (one.seed, one.lockstep, set(one.without)) == (11, Lockstep(way="pct"), {0, 1})
    assert load(found(tmp_path, GOOD + '[lockstep]\norder = "pct"\n', again)).seed == 11


def test_an_empty_tape_is_a_tape(tmp_path: Path) -> None:
    one = load(found(tmp_path, GOOD, Job("it.toml", "", 9, "tape")))
    assert one.lockstep == Lockstep(way="tape")


def test_what_somebody_wrote_behind_it_stays(tmp_path: Path) -> None:
    """Red when all behind the mark goes, and when a row of a tape without it ends its table."""
    job = Job("it.toml", "", 9, "tape", TAPE)
    more = '\n[[phase]]\nname = "two"\nfor = "1s"\n'
    first = found(tmp_path, GOOD, job).read_text(encoding="utf-8")
    unmarked = "".join(one for one in first.splitlines(True) if not one.startswith("# "))
    for text in (first, unmarked):
        one = load(found(tmp_path, text + more, Job("it.toml", "", 11, "pct")))
        assert [phase.name for phase in one.phases] == ["one", "two"]
        assert (one.seed, one.lockstep) == (11, Lockstep(way="pct"))


def test_a_text_may_tell_of_such_a_table(tmp_path: Path) -> None:
    """Red when it ends where the text names the table, or a search's own mark: the file that was
    found could not be read."""
    told = f"It's what\n[lockstep]\n{MARK}\nin the file does"
    text = GOOD.replace('title = "t"', f'title = "t"\n# what """ is\ntext = """\n{told}"""')
    first = found(tmp_path, text, Job("it.toml", "", 9, "tape", TAPE))
    one = load(found(tmp_path, first.read_text("utf-8"), Job("it.toml", "", 11, "pct")))
    assert (one.text, one.lockstep) == (told, Lockstep(way="pct"))


def test_the_line_that_replays_it_can_be_typed(tmp_path: Path) -> None:
    """Red when the name stands there as it is, or is cut off."""
    file = tmp_path / "it.toml"
    file.write_text(GOOD, encoding="utf-8")
    name = f"{'a/' * 200}my storm.toml"
    text = text_of(GOOD, load(file), Job("it.toml", "", 9, "pct"), "a check", "", name)
    assert f"#   hvsim run '{name}' --lockstep\n" in text


@pytest.mark.parametrize("seed", [7, 2**31 - 1])
def test_the_file_has_a_name_that_a_lab_may_have(tmp_path: Path, seed: int) -> None:
    """Red when the seed makes it longer: it could not be run."""
    file = tmp_path / f"{'long' * 8}.toml"
    file.write_text(GOOD, encoding="utf-8")
    out = replays_in(load(file), seed)
    assert is_lab_name(out.stem), out
    assert out.stem.endswith(f"-found-{seed}")


def test_a_tape_is_moved_as_a_whole() -> None:
    assert shifted(((3, 1), (9, 2)), 2) == ((5, 1), (11, 2))
    assert shifted(((3, 1), (9, 2)), -4) == ((5, 2),)
