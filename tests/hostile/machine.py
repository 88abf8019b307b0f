"""A real hypervisor with the hostile-guest test's dom0, from start to the last process."""

import json
import os
import select
import signal
import time
from pathlib import Path
from typing import Any

from hvsim.lab.boot import SPAWNER
from tests.hostile.run_directory import bait
from tests.support.hypervisor_process import ROOT, HypervisorProcess

PATIENCE = 100.0


def run_hostile_lab(directory: Path, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Boot, let the rogue loose, and return the builder's result.

    At the end the hypervisor is killed with SIGKILL, and every process of it must go.
    """
    logs = directory / "log"
    logs.mkdir()
    with bait(directory) as facts:
        config = _config(directory, logs, {"facts": facts, "without": list(without)})
        with (logs / "hypervisor.log").open("ab") as log:
            hypervisor = HypervisorProcess(config, log, session=True)
        process = hypervisor.popen
        try:
            pids = _descendants(process.pid)
            return _wait_for_result(hypervisor, logs)
        finally:
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
    dom0 = {"memory_pages": 1024, "max_vcpus": 1, "processes": [builder]}
    return {
        "lab": "hostile",
        "memory_pages": 16384,
        "cpus": 1,
        "event_mode": "direct",
        "seed": 1,
        "log_dir": str(logs),
        "dom0": dom0,
        "spawner": {"argv": list(SPAWNER), "preload": ["hvsim.domain"]},
    }


def _wait_for_result(hypervisor: HypervisorProcess, logs: Path) -> dict[str, Any]:
    try:
        said = hypervisor.notice(PATIENCE)
        assert said.get("ready"), said
    except AssertionError as error:
        raise AssertionError(f"no hypervisor: {error}{_logs(logs)}") from None
    deadline = time.monotonic() + PATIENCE
    builder = logs / "builder.log"
    while time.monotonic() < deadline:
        text = builder.read_text() if builder.exists() else ""
        for line in text.splitlines(keepends=True):
            if line.startswith('{"result"') and line.endswith("\n"):  # it is long, and may be half
                result: dict[str, Any] = json.loads(line)["result"]
                return result
        if hypervisor.popen.poll() is not None or "Traceback" in text:
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
