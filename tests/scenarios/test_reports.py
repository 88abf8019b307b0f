"""Reports of a run: JUnit XML, the page, and the end of the story.

Seen red: with a failed check that is no failure, with a NUL that is written as it is, with a page
whose `_text` escapes nothing, and with checks in the order in which they were made.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

from hvsim.faults.scenario.junit import junit
from hvsim.faults.scenario.page import page
from hvsim.faults.scenario.rows import RunRow
from hvsim.faults.scenario.story import lines


def row(*, hostile: str = "", held: bool = False) -> RunRow:
    return {
        "ok": held,
        "scenario": "storm",
        "title": f"A storm {hostile}",
        "text": "What comes.\n\nAnd goes: `hvsim ps`.",
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


def test_of_a_rule_that_nobody_could_look_at_no_end_is_told() -> None:
    """Red when a rule of which nothing is known is said to have had its time."""
    one = row()
    one["acts"][0]["fired"] = None
    assert "rule 3: web/xvda media=eio: its time was over" in list(lines(one))
    one["acts"][0]["ended"] = None
    assert "rule 3: web/xvda media=eio: nobody could look what came of it" in list(lines(one))


class Page(HTMLParser):
    """Every tag that is closed as it was opened; what is loaded, and what runs."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.said: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = {name for name, _ in attrs}
        assert not names & {"src", "href"}, "nothing is fetched"
        assert not any(name.startswith("on") for name in names), "nothing runs"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said.append(data.strip())


def test_the_page_says_what_was_done_what_broke_and_how_to_see_it_again() -> None:
    said = Page(page(row())).said
    for text in (
        "1 of 3 checks failed",
        "commit 4 is lost",
        "and 5",
        "web/xvda media=eio",
        "kill storage",
        "storm: 1.50 s to 4.00 s, fired 2 times",
        "hvsim run storm.toml --seed 7",
        "web: told 5 times (lines)",
    ):
        assert text in said, text
    assert said.index("nothing is lost") < said.index("all is well"), "what failed comes first"
    assert "hvsim ps" in said, "what is to be typed, without its quotes"
    assert "Everything held" in Page(page(row(held=True))).said


def test_the_page_fits_a_phone_and_needs_nothing() -> None:
    text = page(row())
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    assert "http" not in text
    assert "@import" not in text
    assert "url(" not in text
    widths = re.findall(r"left:([0-9.]+)%;width:([0-9.]+)%", text)
    assert len(widths) >= 8
    assert all(float(left) + float(width) <= 100.01 for left, width in widths)


def test_the_page_is_one_whatever_a_guest_wrote() -> None:
    hostile = '</pre><script>alert(1)</script>\x1b[2J"onload="x'
    made = Page(page(row(hostile=hostile)))
    assert "script" not in made.tags
    assert any("alert(1)" in one for one in made.said)
    assert "\x1b" not in page(row(hostile=hostile))
