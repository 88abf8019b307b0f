"""The hostile-guest tests once more as an ordinary user, when the suite runs as root."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.hostile.ordinary_user import CANNOT, NOBODY

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent


@pytest.mark.skipif(os.getuid() != 0, reason="the whole suite runs as an ordinary user already")
@pytest.mark.parametrize(
    "module",
    [
        "hostile/test_walls.py",
        "hostile/test_hostile_guest.py",
        "hostile/test_programs.py",
        "hostile/test_resources.py",
        "domain/test_sandbox_granted.py",
        "domain/test_spawner.py",
        "net/test_port.py",
        "net/test_walls.py",
        "net/test_lab.py",
    ],
)
def test_the_same_as_an_ordinary_user(module: str) -> None:
    directory = tempfile.mkdtemp(prefix="hvsim-nobody-")
    os.chown(directory, NOBODY, NOBODY)
    try:
        reachable = [str(ROOT), sys.prefix, sys.base_prefix]
        become = [sys.executable, "-m", "tests.hostile.ordinary_user", *reachable, "--"]
        pytest_run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*become, *pytest_run, "--basetemp", f"{directory}/tmp", str(ROOT / "tests" / module)],
            cwd=ROOT,
            env={
                "PATH": os.environ.get("PATH", ""),
                "HOME": directory,
                "TMPDIR": directory,
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
            check=False,
        )
        if done.returncode == CANNOT:
            pytest.skip(f"this machine forbids mount namespaces: {done.stdout}")
        assert done.returncode == 0, done.stdout
        assert "passed" in done.stdout
    finally:
        shutil.rmtree(directory)
