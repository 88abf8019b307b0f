"""Labs for tests: the hvsim command as a user runs it, in a run directory of the test's own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import warm

ROOT = Path(__file__).resolve().parents[2]
CLI = [sys.executable, "-m", "hvsim.cli"]
TWO_TIER = ROOT / "configs" / "two-tier.toml"
FORKING = (
    *("cli/", "config/", "demo/", "devnodes/", "doctor/", "faults/", "net/", "observe/", "qdisk/"),
    *("scenarios/", "toolstack/", "xenstore/"),
    *("lab/test_crashed_guest", "lab/test_edge", "lab/test_lockstep", "lab/test_real_"),
    *("lab/test_store_death", "lab/test_up_", "lab/test_xl_reading"),
)
"""Where the tests are in which a lab's hypervisor and spawner may be forks of the process that
makes the commands (`warm`): they are not about processes as the kernel tells of them."""


def _forks() -> bool:
    """Whether the test that runs is one of those."""
    _, _, inside = os.environ.get("PYTEST_CURRENT_TEST", "").partition("tests/")
    return inside.startswith(FORKING)


class Commands:
    """Runs `hvsim ...` against labs below `base`."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.environment = {
            **{key: value for key, value in os.environ.items() if key != "HVSIM_LAB"},
            "HVSIM_RUN_DIR": str(base),
            "PYTHONPATH": str(ROOT),
        }

    def argv(self, *words: str) -> list[str]:
        """The command line."""
        return [*CLI, *words]

    def run(
        self, *words: str, cwd: Path | None = None, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run one command to its end."""
        variables = self.environment | environment
        argv = self.argv(*words)
        if argv == [*CLI, *words] and warm.same_interpreter(variables):
            return warm.run(words, variables, cwd, timeout=90, forks=_forks())
        return subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            env=variables,
        )

    def script(self, text: str, *words: str) -> str:
        """Run a Python program that must succeed; what it printed."""
        done = subprocess.run(
            [sys.executable, "-c", text, *words],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
            stdin=subprocess.DEVNULL,
            env=self.environment,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start one command, as from a terminal; both of its outputs come through stdout.

        Ctrl-C reaches it also when the tests themselves run in the background, where it is ignored.
        """
        return subprocess.Popen(
            self.argv(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def ok(self, *words: str, cwd: Path | None = None, **environment: str) -> str:
        """Run one command that must succeed; what it printed."""
        done = self.run(*words, cwd=cwd, **environment)
        assert done.returncode == 0, f"hvsim {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *words: str) -> Any:
        """Run one command with --json; what it printed, loaded."""
        return json.loads(self.ok(*words, "--json"))


@contextmanager
def commands() -> Iterator[Commands]:
    """Commands with a base directory of their own; every lab in it is down afterwards.

    Raises AssertionError when a lab was left running or its directory was left behind by a test
    that ended well.
    """
    base = Path(tempfile.mkdtemp(prefix="hv-", dir="/tmp"))  # short: socket paths are limited
    made = Commands(base)
    try:
        yield made
    finally:
        left = sorted(entry.name for entry in base.iterdir())
        held = sorted(str(entry.relative_to(base)) for entry in base.rglob("*"))
        for name in left:
            made.run("down", name, "--now")
        shutil.rmtree(base, ignore_errors=True)
    assert left == [], f"left: {held}"


@contextmanager
def standing(file: Path, text: str, *, now: bool = False) -> Iterator[Commands]:
    """Commands of a lab that is up, written down as *file*; it goes down behind them (*now*: at
    once), and leaves nothing."""
    file.write_text(text, encoding="utf-8")
    with commands() as made:
        made.ok("up", "--quiet", str(file))
        yield made
        assert "nothing of it is left" in made.ok("down", *(["--now"] if now else []))


@contextmanager
def patient(shipped: Path) -> Iterator[Path]:
    """A lab that we ship, whose guests leave the machine to others: of their own accord they take
    all that it has, for as long as the lab is up."""
    with tempfile.TemporaryDirectory() as folder:
        made = shutil.copytree(shipped.parent, Path(folder) / "configs")
        for guest in ("db-primary", "web-frontend"):
            with (made / "guests" / f"{guest}.cfg").open("a") as config:
                config.write('extra = "rate=40"\n')
        yield made / shipped.name
