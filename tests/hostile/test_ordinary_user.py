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
MODULES = {
    "hostile": ("test_walls.py", "test_hostile_guest.py", "test_programs.py", "test_resources.py"),
    "domain": ("test_sandbox_granted.py", "test_spawner.py"),
    "net": ("test_link.py", "test_walls.py", "test_lab.py"),
}
"""By folder: a start of pytest is a second of CPU."""
TRAFFIC = "first_ping or does_not_take or vlan or download or iperf or checksums or larger_than"
"""What frames do once they pass is the same for everybody: CI runs all of it as nobody
(``.ci/run``)."""
LIMIT = 300.0


@pytest.mark.skipif(os.getuid() != 0, reason="the whole suite runs as an ordinary user already")
@pytest.mark.timeout(LIMIT + 20.0)
@pytest.mark.parametrize("folder", MODULES)
def test_the_same_as_an_ordinary_user(folder: str) -> None:
    directory = tempfile.mkdtemp(prefix="hvsim-nobody-")
    os.chown(directory, NOBODY, NOBODY)
    modules = [str(ROOT / "tests" / folder / module) for module in MODULES[folder]]
    try:
        reachable = [str(ROOT), sys.prefix, sys.base_prefix]
        become = [sys.executable, "-m", "tests.hostile.ordinary_user", *reachable, "--"]
        pytest_run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [
                *become,
                *pytest_run,
                "--basetemp",
                f"{directory}/tmp",
                "-k",
                f"not ({TRAFFIC})",
                *modules,
            ],
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
            timeout=LIMIT,
            check=False,
        )
        if done.returncode == CANNOT:
            pytest.skip(f"this machine forbids mount namespaces: {done.stdout}")
        assert done.returncode == 0, done.stdout
        assert "passed" in done.stdout
    finally:
        shutil.rmtree(directory)
