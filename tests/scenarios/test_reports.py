"""Reports of a run: JUnit XML and the end of the story.

Seen red: with a failed check that is no failure, and with a NUL that is written as it is.
"""

from __future__ import annotations

from xml.etree import ElementTree

from hvsim.faults.scenario.junit import junit
from hvsim.faults.scenario.rows import RunRow
from hvsim.faults.scenario.story import lines


def row(*, hostile: str = "", held: bool = False) -> RunRow:
    return {
        "ok": held,
        "scenario": "storm",
        "title": f"A storm {hostile}",
        "text": "What comes.\nAnd goes.",
        "seed": 7,
        "replay": "hvsim run storm.toml --seed 7",
        "up_seconds": 0.5,
        "seconds": 4.25,
        "phases": [
            {"name": "calm", "text": "", "begun": 0.0, "ended": 1.0},
            {"name": "storm", "text": hostile, "begun": 1.0, "ended": 4.0},
        ],
        "acts": [
            {
                "phase": "storm",
                "what": "fault",
                "text": "web/xvda media=eio",
                "begun": 1.5,
                "ended": 4.0,
                "rule": 3,
                "fired": 2,
                "said": [f"write at sector 8: EIO{hostile}"],
                "trouble": "",
            },
            {
                "phase": "storm",
                "what": "kill",
                "text": "kill storage",
                "begun": 2.0,
                "ended": None,
                "rule": None,
                "fired": None,
                "said": [],
                "trouble": "",
            },
        ],
        "clients": [{"domain": "web", "history": "lines", "told": 5, "pulse": [1] * 5 + [0] * 95}],
        "checks": [
            {"name": "all is well", "held": True, "counts": True, "judged": "5", "problems": []},
            {
                "name": "nothing is lost",
                "held": held,
                "counts": True,
                "judged": "",
                "problems": [] if held else [f"commit 4 is lost{hostile}", "and 5"],
            },
            {
                "name": "no step breaks a rule",
                "held": False,
                "counts": False,
                "judged": "",
                "problems": ["a step"],
            },
        ],
    }


def test_junit_has_what_collectors_of_tests_read() -> None:
    root = ElementTree.fromstring(junit(row()))
    assert root.tag == "testsuites"
    [suite] = root
    assert suite.tag == "testsuite"
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "0")
    assert (suite.get("name"), suite.get("skipped"), suite.get("time")) == ("storm", "1", "4.250")
    assert [child.tag for child in suite] == ["properties", *["testcase"] * 3, "system-out"]
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == [
        "all is well",
        "nothing is lost",
        "no step breaks a rule",
    ]
    assert all(case.get("classname") == "hvsim.storm" and case.get("time") for case in cases)
    [failure] = cases[1]
    assert (failure.tag, failure.get("message")) == ("failure", "commit 4 is lost")
    assert failure.text == "commit 4 is lost\nand 5"
    assert [child.tag for child in cases[2]] == ["skipped"]
    assert {one.get("name"): one.get("value") for one in suite.iter("property")} == {
        "seed": "7",
        "replay": "hvsim run storm.toml --seed 7",
    }


def test_junit_is_a_document_whatever_a_guest_wrote() -> None:
    hostile = '\0\x1b[2J<script>&"]]>\ud800\uffff'
    text = junit(row(hostile=hostile))
    root = ElementTree.fromstring(text.encode())
    failure = root.find(".//failure")
    assert failure is not None
    assert failure.text is not None
    assert '<script>&"]]>' in failure.text
    assert "\0" not in text


def test_the_story_ends_with_what_failed_and_the_line_that_replays_it() -> None:
    said = list(lines(row()))
    assert "FAILED  nothing is lost" in said
    assert "          commit 4 is lost" in said
    assert "(not)   no step breaks a rule" in said
    assert "rule 3: web/xvda media=eio: fired 2 times, last: write at sector 8: EIO" in said
    assert said[-1] == "again: hvsim run storm.toml --seed 7"
    assert "storm: everything held; 4.2 s, seed 7" in list(lines(row(held=True)))
