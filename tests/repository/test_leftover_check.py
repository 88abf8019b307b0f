"""The check itself: each kind of leftover turns a green run red (and is cleaned up here)."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

NO_OTHERS = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"
"""Plugins that are installed: each takes time to begin with."""
several = pytest.mark.parametrize(
    "options", [(), ("-p", "xdist", "-n", "2")], ids=["one", "two processes"]
)

CLEAN = "def test_clean() -> None:\n    pass\n"
DESCRIPTOR = "import os\ndef test_leak() -> None:\n    os.memfd_create('left')\n"
PROCESS = """
import subprocess
def test_leak() -> None:
    # Re-parented: the shell that starts it is gone when the run ends.
    subprocess.run(["sh", "-c", "sleep 60 & echo $! > {pidfile}"], check=True)
"""
SHARED_MEMORY = """
def test_leak() -> None:
    open("/dev/shm/{name}", "w").close()
"""
IN_USE = """
import time
from pathlib import Path
def test_beside() -> None:
    Path("{folder}/begun").touch()
    while not Path("{folder}/made").exists():
        time.sleep(0.01)
"""
POOL = """
import multiprocessing, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
while not (folder / "begun").exists():
    time.sleep(0.01)
held = multiprocessing.get_context("spawn").Semaphore()
(folder / "made").touch()
sys.stdin.read()
"""


def run(folder: Path, source: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A run of pytest with the plugin, over one test file of ``source`` and a clean one."""
    (folder / "test_it.py").write_text(source)
    (folder / "test_other.py").write_text(CLEAN)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.leftovers",
         "-p", "no:cacheprovider", "--rootdir", folder, "-c", os.devnull, *options, folder],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), NO_OTHERS: "1"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_a_clean_run_passes(tmp_path: Path) -> None:
    result = run(tmp_path, CLEAN)
    assert result.returncode == 0, result.stdout


@several
def test_an_open_descriptor_fails_the_run(tmp_path: Path, options: tuple[str, ...]) -> None:
    result = run(tmp_path, DESCRIPTOR, *options)
    assert result.returncode == 1
    assert "/memfd:left" in result.stdout


@several
def test_a_process_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    pidfile = tmp_path / "pid"
    monkeypatch.setenv("HVSIM_TEST_SETTLE", "0")
    result = run(tmp_path, PROCESS.format(pidfile=pidfile), *options)
    pid = int(pidfile.read_text())
    os.kill(pid, signal.SIGKILL)
    assert result.returncode == 1
    assert f"process {pid} " in result.stdout
    assert "sleep 60" in result.stdout


def test_shared_memory_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"left-{os.getpid()}"
    monkeypatch.setenv("HVSIM_TEST_SETTLE", "0")
    try:
        result = run(tmp_path, SHARED_MEMORY.format(name=name))
    finally:
        Path("/dev/shm", name).unlink(missing_ok=True)
    assert result.returncode == 1
    assert f"/dev/shm/{name}" in result.stdout


def test_shared_memory_that_somebody_uses_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HVSIM_TEST_SETTLE", "0")
    words = [sys.executable, "-c", POOL, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as other:
        result = run(tmp_path, IN_USE.format(folder=tmp_path))
        assert other.stdin is not None
        other.stdin.close()
    assert result.returncode == 0, result.stdout
