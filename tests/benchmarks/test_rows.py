"""A row's ratio, its verdict, and how it reads.  Pure: nothing is measured here."""

import json

import pytest

from benchmarks.compare import compare, differences
from benchmarks.rows import (
    ABOVE,
    BELOW,
    GBITS,
    MIB,
    MILLISECONDS,
    OK,
    ON_THE_LINE,
    Plan,
    Row,
    left_out,
    short,
    table,
)
from benchmarks.samples import Sample, median, spread


def row(plan: Plan, *pairs: tuple[float, float | None]) -> Row:
    """Ours and theirs, pair by pair."""
    return Row(plan, [(Sample(a), None if b is None else Sample(b)) for a, b in pairs])


def test_a_spread_is_the_middle_half() -> None:
    found = spread([5.0, 1.0, 2.0, 4.0, 3.0])
    assert (found.low, found.median, found.high) == (2.0, 3.0, 4.0)
    assert spread([7.0]).low == spread([7.0]).high == 7.0


def test_the_median_of_what_is_known() -> None:
    assert median([None, 3.0, 1.0, 2.0]) == 2.0
    assert median([None]) is None


def test_more_is_better_whatever_the_unit() -> None:
    """Red when the ratio of rates is turned as that of times is."""
    slow = row(Plan("x", "C"), (2e-6, 1e-6))
    fast = row(Plan("x", "C", GBITS), (2e9, 1e9))
    assert slow.ratios == [0.5]
    assert fast.ratios == [2.0]


def test_the_ratio_is_that_of_pairs() -> None:
    """A machine that slows down in the middle slows both halves of a pair; the median of ours by
    the median of theirs would say 4."""
    drifting = row(Plan("x", "C", floor=0.8), (1.0, 1.0), (1.0, 1.0), (4.0, 4.0), (4.0, 4.0))
    assert drifting.ratios == [1.0] * 4
    assert drifting.verdict == OK


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ((0.7, 0.71, 0.72), OK),
        ((0.3, 0.31, 0.32), BELOW),
        ((0.5, 0.5, 0.5), ON_THE_LINE),  # steady, and too near
        ((0.53, 0.54, 0.54), ON_THE_LINE),  # the band: a tenth of the bound
        ((0.56, 0.57, 0.58), OK),
        ((0.45, 0.46, 0.46), ON_THE_LINE),
        ((0.42, 0.43, 0.44), BELOW),
        ((0.2, 0.9, 1.0), OK),  # one round that went wrong decides nothing
        ((0.2, 0.4, 0.9, 1.1), ON_THE_LINE),  # the bound lies within the middle half
    ],
)
def test_a_verdict_is_given_outside_the_band_only(ratios: tuple[float, ...], verdict: str) -> None:
    """Red with a plain `median >= floor`, and with BAND = 0."""
    found = row(Plan("x", "C", floor=0.5), *((1.0, ratio) for ratio in ratios))
    assert found.verdict == verdict
    assert found.fails is (verdict == BELOW)


@pytest.mark.parametrize(("seconds", "verdict"), [(0.03, OK), (0.05, ABOVE), (0.042, ON_THE_LINE)])
def test_a_ceiling_judges_our_own_figure_in_its_unit(seconds: float, verdict: str) -> None:
    found = row(Plan("x", unit=MILLISECONDS, ceiling=40.0), (seconds, None))
    assert found.verdict == verdict
    assert found.fails is (verdict == ABOVE)


def test_what_does_not_jitter_has_a_narrow_band() -> None:
    memory = 3.8 * 2**20
    assert row(Plan("x", unit=MIB, ceiling=4.0), (memory, None)).verdict == ON_THE_LINE
    assert row(Plan("x", unit=MIB, ceiling=4.0, band=0.02), (memory, None)).verdict == OK


def test_a_row_without_a_bound_is_told() -> None:
    found = row(Plan("x", "C"), (9.0, 1.0))
    assert found.verdict == ""
    assert not found.fails


def test_the_table_leaves_out_what_nobody_has() -> None:
    rows = [
        Row(Plan("one", "C", floor=0.5), [(Sample(2e-6, cpu=3e-6), Sample(1.6e-6))]),
        Row(Plan("two", "C"), [(Sample(1.2345e-3), Sample(1e-3))]),
        Row(Plan("three", "C"), left_out="no C compiler"),
    ]
    assert table(rows).splitlines() == [
        "what  hvsim    against  its      ratio  spread      bound       CPU",
        "one   2.00 us  C        1.60 us  0.80   0.80..0.80  >= 0.5  ok  3.00 / - us",
        "two   1234 us  C        1000 us  0.81   0.81..0.81",
    ]
    assert left_out(rows) == ["left out: three, against C: no C compiler"]


def test_figures_have_the_digits_that_count() -> None:
    values = (0, 0.00123, 0.123, 1.234, 12.34, 123.4, 12345.6)
    assert [short(value) for value in values] == [
        "0", "0.0012", "0.12", "1.23", "12.3", "123", "12346",
    ]  # fmt: skip


def test_a_row_is_data_for_machines() -> None:
    found = row(Plan("x", "C", floor=0.5), (2e-6, 1e-6)).data("group")
    assert json.loads(json.dumps(found))["ours"][0]["figure"] == 2e-6
    assert found["verdict"] == ON_THE_LINE


def run_of(**verdicts: str) -> dict[str, object]:
    """The JSON of a run with these rows."""
    return {
        "rows": [
            {"group": "g", "name": name, "against": "C", "verdict": verdict}
            for name, verdict in verdicts.items()
        ]
    }


def test_two_runs_contradict_each_other_only_across_the_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = run_of(a=OK, b=OK, c=BELOW, d="", e=OK)
    other = run_of(a=OK, b=ON_THE_LINE, c=BELOW, d="")
    assert [contradiction for _, contradiction in differences(one, other)] == [False, False]
    assert compare(one, other) == 0
    assert compare(one, run_of(a=BELOW, b=OK, c=BELOW, d="", e=OK)) == 1
    said = capsys.readouterr().out
    assert "moved: g: b, against C: ok, then on the line" in said
    assert "moved: g: e, against C: ok, then not judged" in said
    assert "CONTRADICTION: g: a, against C: ok, then BELOW" in said
