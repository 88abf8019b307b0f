"""Rounds, what they share, and what a run of the command says and returns; with rows made up."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import machine
from benchmarks.group import Group
from benchmarks.needs import LeftOut
from benchmarks.rounds import MOST, ROUNDS, Once, in_turn
from benchmarks.rows import Pair, Plan, Row
from benchmarks.samples import Sample

A, B = Plan("a", "C", floor=0.5), Plan("b", "C")


def pair(ratio: float) -> Pair:
    """One in which we are so good."""
    return Sample(1.0), Sample(ratio)


def test_each_round_measures_every_row() -> None:
    order: list[str] = []

    def measure(plan: Plan) -> Pair:
        order.append(plan.name)
        return pair(1.0)

    rows = in_turn([A, B], measure)
    assert order == ["a", "b"] * ROUNDS
    assert [len(row.pairs) for row in rows] == [ROUNDS, ROUNDS]


def test_a_row_on_the_line_is_measured_more_often_but_not_for_ever() -> None:
    """Red without the rounds after the usual ones."""
    ratios = [0.5, 0.5, 0.9, 0.5, 0.9] + [0.9] * ROUNDS
    settles, stays = in_turn(
        [A, replace(A, name="stays")],
        lambda plan: pair(ratios.pop(0) if plan is A else 0.5),
    )
    assert ROUNDS < len(settles.pairs) < MOST
    assert settles.verdict == "ok"
    assert len(stays.pairs) == MOST


def test_what_a_machine_lacks_leaves_one_row_out() -> None:
    def measure(plan: Plan) -> Pair:
        if plan is B:
            raise LeftOut("no C compiler")
        return pair(1.0)

    there, missing = in_turn([A, B], measure)
    assert len(there.pairs) == ROUNDS
    assert (missing.pairs, missing.left_out) == ([], "no C compiler")


def test_rows_of_one_round_share_what_was_measured_once() -> None:
    once = Once()
    made = iter(range(100))
    for expected in (0, 1):
        for plan in (A, B):
            once.begin(plan)
            assert once.get("key", lambda: next(made)) == expected


# ---- the command ----


def group(name: str, *ratios: float, error: Exception | None = None) -> Group:
    """A group whose rows have come out so, or that failed."""
    plans = [Plan(f"row {number}", "C", floor=0.5) for number in range(len(ratios) or 1)]

    def measure(wanted: Sequence[Plan]) -> Sequence[Row]:
        if error is not None:
            raise error
        return [Row(plan, [pair(ratios[plans.index(plan)])] * 3) for plan in wanted]

    return Group(name, f"the title of {name}", f"How {name} compares.", plans, measure)


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> dict[str, Group]:
    """The groups that the command knows, for the test to fill."""
    known: dict[str, Group] = {}
    monkeypatch.setattr(command, "GROUPS", known)
    monkeypatch.setattr(machine, "LOOK", 0.0)
    return known


def known(groups: dict[str, Group], *some: Group) -> None:
    groups.update({one.name: one for one in some})


def test_the_exit_status_says_whether_a_row_is_below(
    groups: dict[str, Group], capsys: pytest.CaptureFixture[str]
) -> None:
    known(groups, group("good", 0.9), group("near", 0.5), group("bad", 0.9, 0.1))
    assert command.main(["good", "near"]) == 0
    assert "no row is below its bound" in capsys.readouterr().out
    assert command.main([]) == 1
    said = capsys.readouterr().out
    assert "BELOW" in said
    assert said.endswith("  bad: row 1, against C\n")
    assert command.main(["--only", "row 0"]) == 0


def test_what_is_missing_or_fails_does_not_end_the_other_groups(
    groups: dict[str, Group], capsys: pytest.CaptureFixture[str]
) -> None:
    known(groups, group("lacks", error=LeftOut("no fio (Debian: fio)")), group("good", 0.9))
    assert command.main([]) == 0
    said = capsys.readouterr().out
    assert "left out: row 0, against C: no fio (Debian: fio)" in said
    assert "0.90" in said
    known(groups, group("breaks", error=RuntimeError("it broke")), group("later", 0.9))
    assert command.main(["breaks", "later"]) == 1
    said = capsys.readouterr().out
    assert "the group failed: it broke" in said
    assert "later: the title of later" in said


def test_json_is_all_of_standard_output_and_can_be_saved_as_well(
    groups: dict[str, Group], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    known(groups, group("bad", 0.1))
    assert command.main(["--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["rows"][0]["verdict"] == "BELOW"
    assert found["about"]["kernel"].startswith("Linux")
    files = [str(tmp_path / name) for name in ("one", "other")]
    for file in files:
        command.main(["--save", file])
    assert "BELOW" in capsys.readouterr().out
    assert command.main(["--compare", *files]) == 0


def test_the_list_measures_nothing_and_says_how_rows_compare(
    groups: dict[str, Group], capsys: pytest.CaptureFixture[str]
) -> None:
    known(groups, group("one", error=AssertionError("measured")), group("other", 0.9))
    assert command.main(["--list"]) == 0
    said = capsys.readouterr().out
    assert "How one compares." in said
    assert "  other: row 0, against C" in said


def test_wrong_words_are_refused(
    groups: dict[str, Group], capsys: pytest.CaptureFixture[str]
) -> None:
    known(groups, group("one", 0.9))
    with pytest.raises(SystemExit) as refused:
        command.main(["none"])
    assert refused.value.code == 2
    assert "no such group: none; there are one" in capsys.readouterr().err
    assert command.main(["--only", "no such row"]) == 2


def test_every_row_has_a_name_of_its_own() -> None:
    for name, one in command.GROUPS.items():
        titles = [plan.title for plan in one.plans]
        assert len(set(titles)) == len(titles) > 0, name
