"""`hvsim explore` against the planted bugs: how soon it finds each, and how small it makes it; and
against the same scenarios without them, in which it must find nothing.

    python -m tests.explore.campaign            every bug from three first seeds: a sentence each
    python -m tests.explore.campaign lost_watch --starts 5 --clean 200
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, Final

from hvsim.explore.rows import ExploreRow, FoundRow
from tests.explore.hunting import BUGS, with_bug_in, without_bug

RUNS: Final = 200
"""Within which each bug must be found."""
CHOICES: Final = 30
"""Of the shrunk tape, at most."""
SHRINK: Final = 1000
"""Runs to shrink with, at most."""
APART: Final = 1000
"""Between two first seeds."""


def explored(file: Path, seed: int, runs: int, *more: str) -> ExploreRow:
    """What `hvsim explore` says of a scenario, in whose folder it may write."""
    words = ["explore", str(file), "--json", "--seed", str(seed), "--runs", str(runs), *more]
    done = said(words)
    if not done.stdout.startswith("{"):
        raise RuntimeError(f"hvsim {' '.join(words)}: {done.stderr}")
    row: ExploreRow = json.loads(done.stdout)
    return row


def said(words: list[str]) -> subprocess.CompletedProcess[str]:
    """What an hvsim has printed."""
    return subprocess.run(
        [sys.executable, "-m", "hvsim.cli", *words],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def replays(found: FoundRow) -> bool:
    """Whether the file that was written fails as it says."""
    done = said(["run", found["file"], "--lockstep", "--json"])
    checks = json.loads(done.stdout)["checks"]
    return any(one["name"] == found["check"] and not one["held"] for one in checks)


def hunt(name: str, starts: int = 3) -> dict[str, Any]:
    """Look for a planted bug from several first seeds."""
    found = []
    again = 0
    for start in range(starts):
        with tempfile.TemporaryDirectory() as folder:
            file = with_bug_in(name, Path(folder))
            row = explored(file, 1 + start * APART, RUNS, "--shrink", str(SHRINK))["found"]
            if row is not None:
                found.append(row)
                again += replays(row)
    return {
        "bug": name,
        "starts": starts,
        "found": len(found),
        "replays": again,
        "runs": median(one["after"] for one in found) if found else None,
        "choices": median(one["choices"] for one in found) if found else None,
        "tape": max(one["tape_after"] for one in found) if found else None,
    }


def sentence(row: dict[str, Any]) -> str:
    """What came of a hunt, for people."""
    head = f"{row['bug']}: found from {row['found']} of {row['starts']} first seeds"
    if not row["found"]:
        return f"{head} within {RUNS} runs each"
    return (
        f"{head}, in run {row['runs']:g} (median); of its {row['choices']:g} choices at most "
        f"{row['tape']} are left; {row['replays']} of {row['found']} files fail again"
    )


def main() -> int:
    """Print a line for each; 0: all as it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.explore.campaign")
    parser.add_argument("bugs", nargs="*", default=list(BUGS))
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--clean", type=int, default=0, metavar="RUNS", help="of each without it")
    options = parser.parse_args()
    bad = 0
    for name in options.bugs:
        row = hunt(name, options.starts)
        print(sentence(row), flush=True)
        bad += row["replays"] < row["starts"] or row["tape"] > CHOICES
        if options.clean:
            with tempfile.TemporaryDirectory() as folder:
                clean = explored(without_bug(name, Path(folder)), 1, options.clean)
            print(f"  without it: {clean['runs']} runs, {clean['found'] or 'nothing'}", flush=True)
            bad += clean["found"] is not None
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
