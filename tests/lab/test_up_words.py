"""What ``hvsim up`` says when somebody of the lab stands still, or cannot run, while it waits."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.errors import HvsimError
from hvsim.faults.now import inject
from hvsim.lab.answers import Answer
from hvsim.lab.control import only_looks
from hvsim.lab.rundir import RunDir
from hvsim.lab.undo import NotStarted, UpError
from hvsim.lab.up import _check
from hvsim.wire.control import Xl
from tests.support.labs import Commands, commands

LAB = """
[[domain]]
name = "storage"
memory = 32
role = "driver"
program = "domains.storage:main"

[[domain]]
name = "lazy"
memory = 16
program = "lazy:main"
disk = ["vdev=xvda,access=r,backend=storage,target=a.img"]

[[image]]
path = "a.img"
size = "1M"
scratch = true
"""
BOUND = 2.0
"""Seconds from the strike to the end of ``up``, the taking down not counted."""


@pytest.fixture(scope="module")
def made() -> Iterator[Commands]:
    with commands() as made:
        yield made


def stall(run: RunDir, who: str) -> int:
    """Its process may just be made (bounded)."""
    deadline = time.monotonic() + 30.0
    while True:
        try:
            return int(inject(run, "stall", who)["pid"])
        except HvsimError:
            assert time.monotonic() < deadline


@pytest.mark.parametrize(
    ("who", "sign"),
    [("storage", "storage: created"), ("storage", "lazy: created"), ("xenstored", "lazy: created")],
)
def test_who_stands_still_is_named(made: Commands, tmp_path: Path, who: str, sign: str) -> None:
    """While a domain is made, and while one is waited for that takes its time.  Red with ``Still``
    taken out: up then waits for 60 s, for a health check that has nothing to do with it."""
    (tmp_path / "lazy.py").write_text("def main(dom):\n    dom.serve()\n")
    (tmp_path / "lab.toml").write_text(LAB)
    with made.start("up", str(tmp_path / "lab.toml")) as up:
        assert up.stdout is not None
        for line in up.stdout:
            if sign in line:
                break
        pid = stall(RunDir(made.base / "lab").read(), who)
        began = time.monotonic()
        said = up.stdout.read()
        took = time.monotonic() - began
    assert up.returncode == 1
    found = re.search(rf"{who} \(pid {pid}\) stands still \(SIGSTOP\); `hvsim fault resume", said)
    assert found, said
    assert took < 10 * BOUND, "no wait of the old ones was entered"
    assert list(made.base.iterdir()) == []


def test_a_program_that_cannot_be_imported(made: Commands, tmp_path: Path) -> None:
    """Its own words, also of a driver domain that would be rebuilt."""
    (tmp_path / "torn.py").write_text("import nowhere_at_all\n\ndef main(dom):\n    dom.ready()\n")
    for more in ("", 'role = "driver"\nrestart = "always"\n'):
        (tmp_path / "lab.toml").write_text(
            f'[[domain]]\nname = "g"\nmemory = 16\nprogram = "torn:main"\n{more}'
        )
        done = made.run("up", "--quiet", str(tmp_path / "lab.toml"))
        assert done.returncode == 1
        assert re.match(
            r"hvsim: g (crashed|ended) before it was ready: torn:main: ModuleNotFoundError: "
            r"No module named 'nowhere_at_all'",
            done.stderr,
        ), done.stderr[:500]


def test_what_up_asks_for_and_does_not_get_is_told() -> None:
    """Whatever the refusal is.  Red when only domains that could not be started are looked for:
    `up --no-wait` then exits with 0."""
    _check(Answer(0, "", "", None), "x")
    with pytest.raises(UpError, match="x: 256 requests are under way"):
        _check(Answer(1, "", "256 requests are under way\n", None), "x")
    with pytest.raises(NotStarted, match="no namespaces"):
        _check(Answer(1, "", "", {"not_started": "no namespaces"}), "x")


@pytest.mark.parametrize(
    ("argv", "looks"),
    [
        (["list"], True),
        (["li", "-l"], True),
        (["domname", "1"], True),
        (["dmesg"], True),
        (["-v", "dm"], True),
        (["dmesg", "-c"], False),
        (["dmesg", "--cl"], False),
        (["destroy", "a"], False),
        (["no-such-verb"], False),
    ],
)
def test_what_only_looks_is_asked_again(argv: list[str], looks: bool) -> None:
    """When the toolstack dies in the middle of it.  Red without shortened verbs, and without the
    look at what `dmesg` is to do."""
    assert only_looks(Xl(argv)) is looks
