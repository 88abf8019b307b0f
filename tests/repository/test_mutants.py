"""``make mutants``: every planted fault has its place, and the run tells who notices from who does
not.  (The whole run takes minutes.)"""

from pathlib import Path

import pytest

from tests.mutants.__main__ import AT_LEAST, misplaced, verdicts
from tests.mutants.copy import Copy, Verdict
from tests.mutants.fault import ROOT, Fault, Misplaced
from tests.mutants.faults import FAULTS

FRAMES = "hvsim/wire/frames.py"
TESTS = ("tests/wire/test_frames.py",)
NOTICED = [fault for fault in FAULTS if fault.file == FRAMES][:2]
HARMLESS = Fault("a word of a comment", FRAMES, "Pure; used by", "Pure, used by", TESTS)
"""The negative control: no test minds it."""
BROKEN = Fault("no module", FRAMES, "Pure; used by", '"""(', TESTS)
ENDLESS = Fault(
    "an import without end", FRAMES, "import struct\n", "import struct\n\nwhile True: pass\n", TESTS
)


def test_every_fault_has_its_place() -> None:
    assert list(misplaced(FAULTS)) == []
    assert len(FAULTS) >= 100
    assert AT_LEAST >= 95


def test_no_fault_is_there_twice() -> None:
    planted = [(fault.file, fault.planted()) for fault in FAULTS]
    assert len(set(planted)) == len(planted)


def test_every_named_test_is_there() -> None:
    named = {test.partition("::")[0] for fault in FAULTS for test in fault.tests}
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_who_notices_is_told_from_who_does_not(tmp_path: Path) -> None:
    with Copy(tmp_path) as copy:
        assert [copy.judge(fault) for fault in (*NOTICED, HARMLESS, BROKEN)] == [
            Verdict.NOTICED,
            Verdict.NOTICED,
            Verdict.SURVIVED,
            Verdict.BROKEN,
        ]
        assert copy.judge(ENDLESS, 0.5) is Verdict.HANGS
        assert copy.run(TESTS) is Verdict.SURVIVED
    assert (copy.root / FRAMES).read_text() == (ROOT / FRAMES).read_text()


def test_a_text_that_is_not_there_is_named() -> None:
    gone = Fault("x", FRAMES, "no such text", "y", TESTS)
    with pytest.raises(Misplaced, match=r"hvsim/wire/frames.py: stands there 0 times: 'no such"):
        gone.planted()
    assert list(misplaced([gone])) != []


@pytest.mark.parametrize("verdict", [Verdict.SURVIVED, Verdict.BROKEN])
def test_the_exit_status_says_whether_enough_were_noticed(
    verdict: Verdict, capsys: pytest.CaptureFixture[str]
) -> None:
    noticed, other = [(HARMLESS, Verdict.NOTICED)], [(HARMLESS, verdict)]
    assert verdicts(noticed * 19 + other) == 0
    assert f"{verdict.value}: {FRAMES}:3: a word of a comment" in capsys.readouterr().out
    assert verdicts(noticed * 18 + other) == 1
    assert capsys.readouterr().out.endswith("18 of 19 planted faults were noticed, 95 % must be\n")


def test_tests_that_do_not_end_have_noticed_but_are_told_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert verdicts([(HARMLESS, Verdict.HANGS)]) == 0
    assert f"{Verdict.HANGS.value}: {FRAMES}:" in capsys.readouterr().out
