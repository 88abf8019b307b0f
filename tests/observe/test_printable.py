"""What is shown of what somebody else wrote."""

import io
import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvsim import speak
from hvsim.printable import as_json, line, log_lines, printable, quoted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ~ text", "plain ~ text"),
        ("Grüße, 日本, Ελλάδα, שלום", "Grüße, 日本, Ελλάδα, שלום"),
        ("\x1b[2J\a\b\0\x7f", "\\x1b[2J\\x07\\x08\\x00\\x7f"),
        ("a\tb\nc\rd", "a\\tb\\nc\\rd"),
        ("\x9b31m\x85", "\\u009b31m\\u0085"),
        ("\u202eabc\u2066\u200f\u061c", "\\u202eabc\\u2066\\u200f\\u061c"),
        ("a\u200bb\u200d\u2060\ufeff\xad", "a\\u200bb\\u200d\\u2060\\ufeff\\u00ad"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\xa0\u3000", "\\u00a0\\u3000"),
        ("\u115f\u3164\u034f\ufe0f\u2800", "\\u115f\\u3164\\u034f\\ufe0f\\u2800"),
        ("\U000e0041\ue000\U0010ffff", "\\U000e0041\\ue000\\U0010ffff"),
        (b"caf\xc3\xa9 \xff\x9b", "café \\xff\\x9b"),
        ("\udcff", "\\xff"),
        ("\ud800", "\\ud800"),
        ("a \\x1b of its own", "a \\x1b of its own"),
    ],
)
def test_what_is_escaped(text: str | bytes, shown: str) -> None:
    assert printable(text) == shown


@given(st.one_of(st.text(), st.binary()))
def test_whatever_comes_one_line_that_no_terminal_obeys(text: str | bytes) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    assert not [c for c in shown if unicodedata.category(c)[0] == "C" or c in "\u2028\u2029"]
    assert not [c for c in shown if unicodedata.bidirectional(c) in ("RLO", "LRO", "RLE", "LRE")]
    shown.encode()
    assert len(shown.splitlines()) <= 1


def test_every_character_of_what_matters_in_unicode() -> None:
    """The ranges of the table are right when nothing of category C, and nothing that is ignorable
    by default, is left; and no letter is lost."""
    for code in (*range(0x3000), *range(0xD700, 0x10400), *range(0xE0000, 0xE1000)):
        char = chr(code)
        kept = printable(char) == char
        category = unicodedata.category(char)
        if category[0] == "C" or category in ("Zl", "Zp"):
            assert not kept, hex(code)
        if category in ("Lu", "Ll", "Nd", "Sc", "Sm", "Pd", "Ps"):
            assert kept, hex(code)


def test_quoted_lines_cannot_be_ours() -> None:
    assert quoted("one\nlab up is ready\n\x1b\r\n\n") == [
        "    one",
        "    lab up is ready",
        "    \\x1b\\r",
    ]
    assert quoted(b"\xff", "| ") == ["| \\xff"]
    assert log_lines("first\nsecond\x1b\n") == "first\n    second\\x1b\n"
    assert line("Name\tID\n") == "Name\tID\\n"


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.floats(allow_nan=False), st.none())))
def test_json_is_ascii_and_means_the_same(value: dict[str, object]) -> None:
    text = as_json(value)
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    assert json.loads(text) == value


def test_a_table_is_aligned_by_what_is_shown() -> None:
    rows = speak.table(("A", "B"), [("x\x1b", 1), ("long enough", "\n")])
    assert rows == ["A            B", "x\\x1b        1", "long enough  \\n"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_the_stream_does_not_have_is_escaped(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    speak.say("é日\x1b", "second")
    expected = {"ascii": "\\xe9\\u65e5", "latin-1": "é\\u65e5", "utf-8": "é日"}[encoding]
    assert raw.getvalue().decode(encoding) == f"{expected}\\x1b\nsecond\n"


def test_a_stream_that_is_closed_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    speak.say("x")
    speak.warn("y")
    speak.counter("z")
