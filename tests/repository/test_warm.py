"""A command from the process that the tests keep is the command that a shell starts.

Seen red: without the change of directory, with the environment of the tests, with errors among the
output, and with a status that is always 0."""

import subprocess
from pathlib import Path
from threading import Thread

import pytest

from tests.support import warm
from tests.support.labs import CLI, Commands

WORDS = (
    ["--version"],
    ["nonsense"],
    ["validate", "lab.toml"],
    ["validate", "there is none.toml"],
    ["labs", "--json"],
    ["ps"],
    ["up", "--help"],
    ["xl", "help"],
    ["exec", "x", "--", "\udcff"],
)


@pytest.fixture
def made(tmp_path: Path) -> Commands:
    (tmp_path / "lab.toml").write_text('[[domain]]\nname = "g"\nprogram = "nowhere:main"\n')
    return Commands(tmp_path / "run")


@pytest.mark.parametrize("words", WORDS, ids=lambda words: ascii(" ".join(words)))
def test_it_says_and_returns_the_same(made: Commands, tmp_path: Path, words: list[str]) -> None:
    cold = subprocess.run(
        made.argv(*words),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=tmp_path,
        env=made.environment,
        timeout=60,
        check=False,
    )
    kept = warm.run(words, made.environment, tmp_path, timeout=60)
    assert (kept.returncode, kept.stdout, kept.stderr) == (
        cold.returncode,
        cold.stdout,
        cold.stderr,
    )


def test_several_at_a_time_are_told_apart(made: Commands) -> None:
    found: dict[str, str] = {}

    def ask(verb: str) -> None:
        found[verb] = warm.run([verb, "--help"], made.environment, None, timeout=60).stdout

    threads = [Thread(target=ask, args=(verb,)) for verb in ("up", "down", "ps", "logs")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {verb: text.split()[:3] for verb, text in found.items()} == {
        verb: ["usage:", "hvsim", verb] for verb in ("up", "down", "ps", "logs")
    }


def test_one_that_takes_too_long_is_killed(made: Commands) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        warm.run(["up", "--help"], made.environment, None, timeout=0.0)
    assert warm.run(["--version"], made.environment, None, timeout=60).returncode == 0


def test_what_an_interpreter_reads_at_its_start_needs_a_start(made: Commands) -> None:
    assert warm.same_interpreter(made.environment)
    assert not warm.same_interpreter({**made.environment, "LC_ALL": "C"})
    assert not warm.same_interpreter({**made.environment, "PYTHONUTF8": "1"})
    assert made.argv("ps") == [*CLI, "ps"]
