"""Two runs of a seed in lockstep are the same, byte for byte, whatever else is not.

The second of each pair has another hash seed, another name, another run directory, and a machine
that is busy.  A driver domain is slow, gets a fifth of its time, and is killed.

Seen red: when notifies are heard while a process runs; when the end of a killed process is not
waited for (both are planted by ``tests/mutants``); with uuids that follow from the name of the lab.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.scenarios.short import LAB
from tests.support.labs import commands

TEXT = (
    LAB
    + """
[[load]]
domain = "web"
args = { rate = 150, registers = 3, reads = 75 }
[[phase]]
name = "calm"
until = [{ domain = "web", count = 5, within = "30s" }]
[[phase]]
name = "storm"
for = "600ms"
[[phase.fault]]
target = "web/xvda"
media = "slow"
by = "1ms..3ms"
[[phase.fault]]
target = "storage"
cpu = "20%"
[[phase.fault]]
target = "xenstored"
request = "EAGAIN"
chance = "5%"
[[phase.step]]
when = "200ms..300ms"
kill = "storage"
[[phase]]
name = "healed"
until = [{ domain = "web", count = 5, within = "30s" }]
"""
)


@contextmanager
def busy() -> Iterator[None]:
    """Somebody else has much to do."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        yield
    finally:
        for one in others:
            one.kill()
            one.wait()


def run(
    folder: Path, name: str, *words: str, hash_seed: str = "random", ends: tuple[int, ...] = (0,)
) -> bytes:
    """The ledger of one run, which ends so; the tape beside it."""
    file = folder / "short.toml"
    file.write_text(TEXT, encoding="utf-8")
    ledger = folder / name
    with commands() as hvsim:
        done = hvsim.run(
            *("run", str(file), "--lockstep", "--quiet", "--name", name, *words),
            *("--ledger", str(ledger), "--save-tape", str(ledger.with_suffix(".tape"))),
            PYTHONHASHSEED=hash_seed,
        )
    assert done.returncode in ends, (done.stdout, done.stderr)
    return ledger.read_bytes()


@pytest.mark.parametrize("order", ["random", "pct"])
def test_two_runs_of_a_seed_are_the_same(tmp_path: Path, order: str) -> None:
    words = ("--seed", "5", "--order", order)
    first = run(tmp_path, "first", *words, hash_seed="1")
    with busy():
        second = run(tmp_path, "the-second", *words, hash_seed="2")
    assert first == second
    kinds = [json.loads(line)["kind"] for line in first.splitlines()]
    assert kinds.count("fault.added") == 3
    assert "lockstep.stray" not in kinds, "somebody ran while another had the turn"
    assert "fault.fired" in kinds
    tape = (tmp_path / "first.tape").read_bytes()
    assert tape == (tmp_path / "the-second.tape").read_bytes()


def test_another_seed_is_another_run_and_a_tape_is_the_same_again(tmp_path: Path) -> None:
    first = run(tmp_path, "first", "--seed", "5")
    # There are seeds whose guest does not survive a store that refuses a read.
    assert run(tmp_path, "other", "--seed", "6", ends=(0, 1)) != first
    tape = tmp_path / "first.tape"
    again = run(tmp_path, "again", "--seed", "5", "--tape", str(tape))
    assert again == first
    assert (tmp_path / "again.tape").read_bytes() == tape.read_bytes()

    whole = json.loads(tape.read_text(encoding="utf-8"))
    cut = {key: which for key, which in whole["tape"].items() if int(key) < 100}
    assert 0 < len(cut) < len(whole["tape"])
    tape.write_text(json.dumps({"tape": cut}), encoding="utf-8")
    assert run(tmp_path, "cut", "--seed", "5", "--tape", str(tape)) != first
    played = json.loads((tmp_path / "cut.tape").read_text(encoding="utf-8"))
    assert played["tape"] == cut


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--tape", "x"), "--tape says nothing without --lockstep"),
        (("--save-tape", "x"), "--save-tape says nothing without --lockstep"),
        (("--order", "pct"), "--order says nothing without --lockstep"),
        (("--lockstep", "--order", "pct", "--tape", "x"), "give one of them"),
        (("--lockstep", "--tape", "x"), "x: No such file"),
    ],
)
def test_words_that_say_nothing_together(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    file = tmp_path / "short.toml"
    file.write_text(TEXT, encoding="utf-8")
    with commands() as hvsim:
        done = hvsim.run("run", str(file), *words, cwd=tmp_path)
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr
