"""The file of a tape: what is written is read again, and what is none is refused in a sentence.

Seen red: with `_numbered` that returns what it was given; without the look at negative numbers;
with numbers that no message holds, and lists in lists without an end, each a traceback.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from hvsim.errors import HvsimError
from hvsim.faults.scenario.tapes import load, text


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "tape"
    file.write_text(text(1204, {17: 1, 230: 2}), encoding="utf-8")
    assert load(str(file)) == {17: 1, 230: 2}


def test_it_may_be_cut_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "tape"
    file.write_text('{"tape": {"230": 2}}', encoding="utf-8")
    assert load(str(file)) == {230: 2}


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "[]", "{}", "\x00", '{"tape": [1]}', '{"tape": {}, "more": 1}'),
        *('{"tape": {"x": 1}}', '{"tape": {"1": "x"}}'),
        *('{"tape": {"-1": 1}}', '{"tape": {"1": -1}}'),
        *('{"tape": {"1": 4294967296}}', f'{{"tape": {{"{1 << 70}": 1}}}}', "[" * 100_000),
    ],
)
def test_what_is_none_is_refused(tmp_path: Path, wrong: str) -> None:
    file = tmp_path / "tape"
    file.write_text(wrong, encoding="utf-8")
    with pytest.raises(HvsimError, match="no tape of a run"):
        load(str(file))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HvsimError, match="nothing: No such file"):
        load(str(tmp_path / "nothing"))


def test_the_tape_of_another_scenario_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tape"
    file.write_text(text(3, {1: 1}, "storm.toml"), encoding="utf-8")
    assert load(str(file), "storm.toml") == {1: 1}
    assert load(str(file)) == {1: 1}
    with pytest.raises(HvsimError, match=r"the tape of storm\.toml, and this is frames\.toml; to"):
        load(str(file), "frames.toml")
