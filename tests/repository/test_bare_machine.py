"""The machine without optional things is one, and would say so if it were not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.bare import CANNOT, STILL_THERE

ROOT = Path(__file__).resolve().parents[2]
FIND = (
    "from hvsim.drivers.net.link import TUN_DEVICE; from hvsim.lab import real_daemons;"
    "from hvsim.toolstack.devices import qemu; import os;"
    "print(real_daemons.find('xenstored'), qemu.program(), os.path.exists(TUN_DEVICE))"
)
FAILS_TO_HIDE = "from tests.support import bare; bare.hide = lambda *_: None; bare.main()"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory at the head of the PATH, with an optional program in it."""
    program = tmp_path / "curl"
    program.write_text("#!/bin/sh\necho curl\n")
    program.chmod(0o755)
    return tmp_path


def run(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode == CANNOT:
        pytest.skip(f"no machine without optional things can be made here: {done.stderr}")
    return done


def test_what_looks_for_it_by_an_absolute_path_finds_nothing(folder: Path) -> None:
    """Red without the overlay."""
    done = run(folder, "-m", "tests.support.bare", "--", sys.executable, "-c", FIND)
    assert (done.returncode, done.stdout) == (0, "None None False\n"), done.stderr
    assert subprocess.run([folder / "curl"], check=False).returncode == 0, "only within"


def test_without_a_compiler_there_is_none(folder: Path) -> None:
    look = "which cc gcc clang curl; true"
    words = ("-m", "tests.support.bare", "--without-compiler", "--", "sh", "-c", look)
    done = run(folder, *words)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_what_can_still_be_seen_ends_the_run(folder: Path) -> None:
    done = run(folder, "-c", FAILS_TO_HIDE)
    assert done.returncode == STILL_THERE
    assert f"still visible: curl at {folder}/curl" in done.stderr
