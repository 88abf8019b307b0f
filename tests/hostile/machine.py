"""A real hypervisor with the hostile-guest test's dom0, from start to the last process."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgpack

from hvsim.lab.boot import SPAWNER
from tests.hostile.run_directory import bait

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 100.0


def run_hostile_lab(directory: Path, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Boot, let the rogue loose, and return the builder's result.

    At the end the hypervisor is killed with SIGKILL, and every process of it must go.
    """
    logs = directory / "log"
    logs.mkdir()
    with bait(directory) as facts:
        config = _config(directory, logs, {"facts": facts, "without": list(without)})
        process, notice = _boot(logs, config)
        try:
            pids = _descendants(process.pid)
            return _wait_for_result(process, notice, logs)
        finally:
            os.close(notice)
            pids |= _descendants(process.pid)
            pidfds = [os.pidfd_open(pid) for pid in pids if os.path.exists(f"/proc/{pid}")]
            process.send_signal(signal.SIGKILL)
            process.wait()
            for pidfd in pidfds:
                assert select.select([pidfd], [], [], 20.0)[0], "a process outlived its hypervisor"
                os.close(pidfd)


def _config(directory: Path, logs: Path, args: dict[str, Any]) -> dict[str, Any]:
    builder = {
        "name": "Domain-0",
        "domid": 0,
        "process": "kernel",
        "program": "tests.hostile.programs.builder:main",
        "profile": "dom0",
        "path": [str(ROOT)],
        "files": [],
        "stdout": str(logs / "builder.log"),
        "args": {"logs": str(logs), "root": str(ROOT), **args},
        "store": False,
        "console": False,
    }
    dom0 = {"name": "Domain-0", "memory_pages": 1024, "max_vcpus": 1, "processes": [builder]}
    return {
        "lab": "hostile",
        "run_dir": str(directory),
        "memory_pages": 16384,
        "cpus": 1,
        "event_mode": "direct",
        "seed": 1,
        "events_endpoint": None,
        "log_dir": str(logs),
        "dom0": dom0,
        "spawner": {"argv": list(SPAWNER), "preload": ["hvsim.domain"]},
    }


def _boot(logs: Path, config: dict[str, Any]) -> tuple["subprocess.Popen[bytes]", int]:
    """Start the hypervisor; returns it and the descriptor of its notice."""
    config_read, config_write = os.pipe()
    notice_read, notice_write = os.pipe()
    command = [sys.executable, "-m", "hvsim.hypervisor"]
    command += ["--config-fd", str(config_read), "--notice-fd", str(notice_write)]
    with (logs / "hypervisor.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(config_read, notice_write),
            cwd=ROOT,
        )
    os.close(config_read)
    os.close(notice_write)
    with open(config_write, "wb") as pipe:
        pipe.write(msgpack.packb(config))
    return process, notice_read


def _wait_for_result(process: "subprocess.Popen[bytes]", notice: int, logs: Path) -> dict[str, Any]:
    assert select.select([notice], [], [], PATIENCE)[0], "the hypervisor says nothing"
    said = os.read(notice, 65536)
    if not said or not msgpack.unpackb(said).get("ready"):
        raise AssertionError(f"no hypervisor: {said!r}{_logs(logs)}")
    deadline = time.monotonic() + PATIENCE
    builder = logs / "builder.log"
    while time.monotonic() < deadline:
        text = builder.read_text() if builder.exists() else ""
        for line in text.splitlines(keepends=True):
            if line.startswith('{"result"') and line.endswith("\n"):  # it is long, and may be half
                result: dict[str, Any] = json.loads(line)["result"]
                return result
        if process.poll() is not None or "Traceback" in text:
            break
        time.sleep(0.05)
    raise AssertionError(f"no result{_logs(logs)}")


def _logs(logs: Path) -> str:
    return "".join(
        f"\n--- {path.name}\n{path.read_text(errors='replace')[-3000:]}"
        for path in sorted(logs.iterdir())
    )


def _descendants(pid: int) -> set[int]:
    """Children, children's children and so on."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return set()
    found = {int(child) for child in children}
    return found.union(*(_descendants(child) for child in found))
