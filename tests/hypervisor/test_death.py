"""SIGKILL of the hypervisor: every process of the lab is gone, because the kernel says so.

The real spawner and real walls; the processes are of every kind that could miss the news: one
that never waits, one that ignores what can be ignored, one that is paused, one that is stalled,
and dom0's with a thread that never rests.
"""

import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.lab.boot import SPAWNER
from tests.hypervisor.client import PATIENCE, ROOT, readable
from tests.support.hypervisor_process import HypervisorProcess

KINDS = {"dom0", "waits", "spins", "deaf", "paused", "stalled"}


class Patient:
    """A hypervisor with the real spawner, and pidfds of all that runs on it."""

    def __init__(self, tmp_path: Path) -> None:
        told = tmp_path / "told"
        kernel = {
            "name": "Domain-0",
            "process": "kernel",
            "profile": "dom0",
            "program": "tests.hypervisor.deathbed:dom0",
            "path": [str(ROOT)],
            "args": {"told": str(told)},
            "store": False,
            "console": False,
        }
        boot = {
            "lab": "death",
            "memory_pages": 16384,
            "spawner": {"argv": list(SPAWNER)},
            "dom0": {"memory_pages": 2048, "max_vcpus": 1, "processes": [kernel]},
        }
        self._hypervisor = HypervisorProcess(boot)
        self.process = self._hypervisor.popen
        self.pidfds: dict[str, int] = {}
        try:
            self._boot(told)
        except BaseException:
            self.close()
            raise

    def _boot(self, told: Path) -> None:
        self.notice = self._hypervisor.notice(PATIENCE)
        assert self.notice.get("ready"), self.notice
        for _ in range(int(PATIENCE * 100)):
            if told.exists():
                break
            select.select([], [], [], 0.01)
        lines = [line.split() for line in told.read_text().splitlines()]
        self.pids: dict[str, int] = {name: int(pid) for name, pid in lines}
        self.pids["spawner"] = self.notice["spawner_pid"]
        for name, pid in self.pids.items():
            self.pidfds[name] = os.pidfd_open(pid)

    def wait_gone(self) -> None:
        """All of them, each within a bound."""
        for name, pidfd in self.pidfds.items():
            assert readable(pidfd, PATIENCE), f"{name} (pid {self.pids[name]}) lives on"

    def close(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)
        for pidfd in self.pidfds.values():
            if not readable(pidfd):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Patient]:
    patient = Patient(tmp_path)
    yield patient
    patient.close()


@pytest.mark.parametrize("spawner", ["runs", "stopped"])
def test_sigkill_of_the_hypervisor_ends_every_process(patient: Patient, spawner: str) -> None:
    """The spawner tidies up when it runs; when it cannot, the kernel does (PDEATHSIG).

    Red ("stopped") when the spawner does not ask to die with the hypervisor.
    """
    assert {*patient.pids} == KINDS | {"spawner"}
    assert not any(readable(pidfd) for pidfd in patient.pidfds.values()), "all are there"
    if spawner == "stopped":
        signal.pidfd_send_signal(patient.pidfds["spawner"], signal.SIGSTOP)
    patient.process.kill()
    patient.wait_gone()


def test_sigkill_of_the_spawner_ends_every_process(patient: Patient) -> None:
    """The hypervisor sees it and halts, in order and with status 1."""
    signal.pidfd_send_signal(patient.pidfds["spawner"], signal.SIGKILL)
    patient.wait_gone()
    assert patient.process.wait(PATIENCE) == 1
