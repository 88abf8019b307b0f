"""Runs of a scenario in lockstep, here and now: with its bug, or with all but its bug."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final, Literal

from hvsim.faults.scenario.load import load
from hvsim.faults.scenario.rows import RunRow
from hvsim.faults.scenario.run import run
from hvsim.wire.boot import Lockstep

HERE: Final = Path(__file__).parent / "planted"
BUGS: Final = tuple(sorted(file.stem for file in HERE.glob("*.toml")))
Order = Literal["random", "pct", "longest"]
_MARK: Final = "\n# The bug.\n"


def with_bug(name: str) -> Path:
    """The scenario, with the bug of that name planted."""
    return HERE / f"{name}.toml"


def with_bug_in(name: str, folder: Path) -> Path:
    """The same in *folder*, where something may be written beside it."""
    return _copied(name, folder, with_bug(name).read_text(encoding="utf-8"))


def without_bug(name: str, folder: Path) -> Path:
    """The same scenario in *folder*, with nothing planted."""
    text, mark, _ = with_bug(name).read_text(encoding="utf-8").partition(_MARK)
    assert mark, f"{name}.toml does not say where its bug is"
    return _copied(name, folder, text)


def _copied(name: str, folder: Path, text: str) -> Path:
    place = folder / name
    shutil.copytree(HERE, place, ignore=shutil.ignore_patterns("__pycache__", "*.toml"))
    file = place / f"{name}.toml"
    file.write_text(text, encoding="utf-8")
    return file


def one_run(file: Path, seed: int, order: Order = "random") -> RunRow:
    """What came of the scenario with that seed."""
    row, _ = run(load(file), seed, "", lambda _: None, Lockstep(way=order))
    return row


def broken(row: RunRow) -> list[str]:
    """The problems of a run that count."""
    return [
        f"{one['name']}: {problem}"
        for one in row["checks"]
        if not one["held"] and one["counts"]
        for problem in one["problems"]
    ]
