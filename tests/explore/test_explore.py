"""A guest with a bug that shows in some orders only is found, shrunk, and replayed by `hvsim run`.

The negative control is the same guest without its bug: nothing is found.  Seen red: with a file in
which the tape was left out; with workers that SIGTERM just ends, and that nobody's death tells of.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

from hvsim.commands import explore as verb
from hvsim.commands.explore import _lines as told_of
from hvsim.commands.verbs import parser_of
from hvsim.explore import job, processor
from hvsim.explore.job import Job, digest, play
from hvsim.explore.rows import FoundRow
from hvsim.faults.scenario import run as scenario_run
from hvsim.lab import nursery, up
from hvsim.lab.launch import Child, as_program
from hvsim.linux import proc
from tests.support.labs import Commands, commands

HERE = Path(__file__).resolve().parent
CHECK = "web: registers are linearizable"
SLOW = 500
"""Seconds: a few dozen labs come up, on a machine that does much else."""


def scenario(folder: Path, patience: int) -> Path:
    """Sixty-four requests of a guest that waits so long for a read."""
    shutil.copy(HERE / "hasty.py", folder)
    text = (HERE / "sixty_four.toml").read_text(encoding="utf-8")
    file = folder / "it.toml"
    file.write_text(text.replace("patience = 0", f"patience = {patience}"), encoding="utf-8")
    return file


def explored(hvsim: Commands, code: int, *words: str) -> dict[str, Any]:
    done = subprocess.run(
        hvsim.argv("explore", *words, "--json"),
        env=hvsim.environment,
        capture_output=True,
        text=True,
        timeout=SLOW,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    row: dict[str, Any] = json.loads(done.stdout)
    assert json.loads(hvsim.ok("labs", "--json")) == [], "every lab is gone"
    return row


@pytest.mark.timeout(SLOW)
def test_a_bug_is_found_and_shrunk_and_replays(tmp_path: Path) -> None:
    file = scenario(tmp_path, 160)
    with commands() as hvsim:
        row = explored(hvsim, 1, str(file), "--runs", "20", "--jobs", "2", "--shrink", "60")
        found = row["found"]
        assert found["check"] == CHECK
        # The campaign lets it take the runs that it needs, and wants 30 at most.
        assert found["tape_after"] < found["tape_before"] < found["choices"]
        assert row["coverage"] > 50
        out = Path(found["file"])
        assert out.parent == tmp_path
        text = out.read_text(encoding="utf-8")
        assert text.startswith(file.read_text(encoding="utf-8").rstrip("\n"))
        assert f"hvsim run {out} --lockstep" in text
        ledgers = []
        for name in ("one", "two"):
            ledger = tmp_path / f"{name}.jsonl"
            done = hvsim.run("run", str(out), "--lockstep", "--json", "--ledger", str(ledger))
            assert done.returncode == 1, (done.stdout, done.stderr)
            failed = [one["name"] for one in json.loads(done.stdout)["checks"] if not one["held"]]
            assert CHECK in failed
            ledgers.append(ledger.read_bytes())
        assert ledgers[0] == ledgers[1]


@pytest.mark.timeout(SLOW)
def test_where_there_is_no_bug_nothing_is_found(tmp_path: Path) -> None:
    with commands() as hvsim:
        file = str(scenario(tmp_path, 0))
        row = explored(hvsim, 0, file, "--runs", "5", "--jobs", "2", "--seed", "3")
    assert (row["runs"], row["found"], row["late"]) == (5, None, 0)
    assert [one.name for one in tmp_path.glob("*.toml")] == ["it.toml"]


FOUND: FoundRow = {
    "check": "web goes on",
    "said": "0 of 3",
    "seed": 7,
    "order": "pct",
    "after": 12,
    "choices": 900,
    "tape_before": 400,
    "tape_after": 3,
    "acts_before": 2,
    "acts_after": 1,
    "shrink_runs": 60,
    "file": "it-found-7.toml",
}


def test_what_was_found_is_told_in_words() -> None:
    def told(**more: object) -> list[str]:
        found = cast("FoundRow", {**FOUND, **more})
        return list(
            told_of(
                {
                    "scenario": "it",
                    "runs": 1,
                    "seconds": 1.0,
                    "runs_a_minute": 60.0,
                    "late": 0,
                    "coverage": 9,
                    "found": found,
                }
            )
        )

    assert told() == [
        "it: 1 run, 60 a minute, 9 pairs of events seen in a row",
        "FAILED  web goes on",
        "          0 of 3",
        "found in run 12: seed 7, pct",
        "shrunk in 60 runs: it needs 3 of 400 choices of who is next, and 1 of 2 faults and steps",
        "again: hvsim run it-found-7.toml --lockstep",
    ]
    assert "it needs no special order, and 1" in told(tape_after=0)[4]
    assert told(tape_after=0, acts_before=0)[4].endswith(": it needs no special order")


def test_what_is_no_scenario_ends_with_2(tmp_path: Path) -> None:
    file = tmp_path / "no.toml"
    file.write_text('[scenario]\n[[phase]]\nname = "a"\n', encoding="utf-8")
    with commands() as hvsim:
        done = hvsim.run("explore", str(file))
    assert done.returncode == 2
    assert "no.toml" in done.stderr


def test_a_file_elsewhere_would_not_replay(tmp_path: Path) -> None:
    """Red without the look at where --out lies: it is written, and holds, without what it names."""
    file = scenario(tmp_path, 160)
    out = tmp_path / "elsewhere"
    out.mkdir()
    with commands() as hvsim:
        done = hvsim.run("explore", str(file), "--runs", "1", "--out", str(out / "found.toml"))
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "not in" in done.stderr
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("out", "code", "said"),
    [
        ("it.toml", 2, "the scenario itself, which is to stay"),
        ("folder", 1, "a directory; name a file in it"),
    ],
)
def test_a_file_that_cannot_be_written_is_told_of_before_the_search(
    tmp_path: Path, out: str, code: int, said: str
) -> None:
    """Red when the file is written over, or the directory is met when the search is over."""
    file = scenario(tmp_path, 160)
    before = file.read_bytes()
    (tmp_path / "folder").mkdir()
    with commands() as hvsim:
        done = hvsim.run("explore", str(file), "--runs", "20", "--out", str(tmp_path / out))
    assert done.returncode == code, (done.stdout, done.stderr)
    assert said in done.stderr
    assert done.stdout == "", "no search has begun"
    assert file.read_bytes() == before


def test_all_that_takes_no_turns_is_told_before_the_search(tmp_path: Path) -> None:
    """Red when a worker meets it: who searches hears of the first alone."""
    file = tmp_path / "it.toml"
    guest = '[[domain]]\nname = "{}"\nmemory = 32\nprogram = {{ exec = ["true"] }}\n'
    text = "".join(map(guest.format, ("one", "two")))
    phase = '[[phase]]\nname = "a"\nfor = "1s"\n'
    file.write_text(f"[scenario]\n{text}{phase}", encoding="utf-8")
    with commands() as hvsim:
        done = hvsim.run("explore", str(file))
    assert done.returncode == 1
    assert all(f"domain '{name}': --lockstep:" in done.stderr for name in ("one", "two"))


def test_a_seed_is_any_that_a_scenario_may_have() -> None:
    """Red with a number from 1, and with one that begins at another seed than it says."""
    parser = parser_of("explore", verb)
    assert parser.parse_args(["it.toml", "--seed", "0"]).seed == 0
    with pytest.raises(SystemExit):
        parser.parse_args(["it.toml", "--seed", str(1 << 31)])


class _Nursery:
    """One that has nothing to fork."""

    def __init__(self, _preload: object) -> None:
        self.ended = False

    def close(self) -> None:
        self.ended = True


def test_who_makes_several_runs_at_once_has_a_nursery_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker of Dask has as many threads as it likes.  Red when they share one: the answer to one
    is taken by another, and all their labs are on one processor."""
    monkeypatch.setattr(nursery, "Nursery", _Nursery)
    monkeypatch.setattr(processor, "keep", lambda: None)
    monkeypatch.setattr(job, "_mine", threading.local())
    both = threading.Barrier(2)

    def living(_number: int) -> object:
        mine = job._living()
        both.wait(10.0)
        assert job._living() is mine
        return mine

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(living, range(2))
    assert one is not other


def test_a_nursery_that_has_died_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nursery, "Nursery", _Nursery)
    monkeypatch.setattr(processor, "keep", lambda: None)
    monkeypatch.setattr(job, "_mine", threading.local())
    first = job._living()
    first.close()
    assert job._living() is not first


def test_a_run_that_takes_too_long_is_ended(tmp_path: Path, here: Commands) -> None:
    file = scenario(tmp_path, 0)
    text = file.read_text(encoding="utf-8")
    assert 'for = "20ms"' in text
    file.write_text(text.replace('for = "20ms"', 'for = "700h"'), encoding="utf-8")
    outcome = play(Job(str(file), digest(file.read_text("utf-8")), 1, "longest"), 8.0, as_program)
    assert here.json("labs") == []
    assert outcome.late
    assert not outcome.failed


@pytest.mark.parametrize(("place", "step"), [(up, "claim"), (scenario_run, "bring_up")])
def test_a_lab_that_is_nobody_s_for_a_moment_goes_too(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    here: Commands,
    place: ModuleType,
    step: str,
) -> None:
    """The word to end comes at any step of a worker's program; the one just after these two belongs
    to nobody who would take the lab down.  Red when whoever plays the run does not."""
    file = scenario(tmp_path, 0)
    does = getattr(place, step)
    started = []

    def start(*words: Any) -> Child:
        started.append(as_program(*words))
        return started[-1]

    def then(*args: Any, **kwargs: Any) -> None:
        does(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(place, step, then)
    with pytest.raises(KeyboardInterrupt):
        play(Job(str(file), digest(file.read_text("utf-8")), 1, "random"), start=start)
    for one in started:
        assert one.wait() == 0
    assert list(here.base.iterdir()) == []


@contextmanager
def searching(hvsim: Commands, file: str) -> Iterator[subprocess.Popen[str]]:
    """A search in a group of its own, whose first lab is up or comes up."""
    search = subprocess.Popen(
        hvsim.argv("explore", file, "--runs", "500", "--jobs", "2"),
        env=hvsim.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        while not json.loads(hvsim.ok("labs", "--json")):
            assert search.poll() is None
        yield search
    finally:
        search.kill()
        search.communicate()


@pytest.mark.timeout(SLOW)
@pytest.mark.parametrize(
    ("whom", "number", "code"),
    [
        (os.killpg, signal.SIGINT, 130),
        (os.kill, signal.SIGTERM, 143),
        (os.killpg, signal.SIGTERM, 143),  # as timeout(1) does
    ],
)
def test_who_is_interrupted_leaves_no_lab(
    tmp_path: Path, whom: Callable[[int, int], None], number: int, code: int
) -> None:
    with commands() as hvsim, searching(hvsim, str(scenario(tmp_path, 0))) as search:
        whom(search.pid, number)
        _, told = search.communicate(timeout=SLOW)
        assert (search.returncode, told) == (code, "hvsim: interrupted\n")
        assert json.loads(hvsim.ok("labs", "--json")) == []


@pytest.mark.timeout(SLOW)
def test_of_a_search_that_is_killed_everybody_ends(tmp_path: Path) -> None:
    with commands() as hvsim, searching(hvsim, str(scenario(tmp_path, 0))) as search:
        search.kill()
        while members(search.pid) or json.loads(hvsim.ok("labs", "--json")):
            time.sleep(0.05)


def members(session: int) -> list[int]:
    """The processes of a session that live; a lab is in one of its own."""
    found = []
    for pid in proc.pids():
        with suppress(ProcessLookupError):
            stat = proc.stat(pid)
            if stat is not None and stat.state not in proc.GONE and os.getsid(pid) == session:
                found.append(pid)
    return found


CLUSTER = """
import sys
from distributed import LocalCluster
from hvsim.cli import main

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        code = main(["explore", sys.argv[1], "--runs", "4", "--json",
                     "--dask", cluster.scheduler_address])
    sys.exit(code)
"""


@pytest.mark.timeout(SLOW)
def test_workers_of_dask_make_the_runs(tmp_path: Path) -> None:
    program = tmp_path / "cluster.py"
    program.write_text(CLUSTER, encoding="utf-8")
    with commands() as hvsim:
        done = subprocess.run(
            [sys.executable, str(program), str(scenario(tmp_path, 0))],
            env=hvsim.environment | {"DASK_TEMPORARY_DIRECTORY": str(tmp_path)},  # else in /tmp
            capture_output=True,
            text=True,
            timeout=SLOW,
        )
        assert json.loads(hvsim.ok("labs", "--json")) == []
    assert done.returncode == 0, (done.stdout, done.stderr)
    row = json.loads(done.stdout)
    assert (row["runs"], row["found"]) == (4, None)


def test_without_dask_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hvsim.errors import HvsimError
    from hvsim.explore.workers import dask

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(HvsimError, match=r"pip install 'hvsim\[scale\]'"), dask("tcp://here:1"):
        pass
