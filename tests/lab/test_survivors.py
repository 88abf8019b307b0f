"""What outlived a lab's hypervisor is ended by ``hvsim down``, which knows it from the record.

With the hypervisor goes everything, but for who cannot hear of it: a daemon that a program of
Domain-0 left behind is minded by a process of ours, and that one stands still here.
"""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hvsim.lab.processes import Identity, family
from hvsim.lab.rundir import RunDir
from hvsim.linux import proc
from tests.support import optional
from tests.support.labs import Commands, commands
from tests.support.waits import wait

LAB = """
[lab]
name = "left"

[[domain]]
name = "late"
memory = 64
program = "late:main"
"""
#: While it is not ready, `up` is not done: what runs until then is in the record.
LATE = """
def main(dom):
    while dom.store.read_many(["data/go"]) == [None]:
        dom.sleep(0.05)
    dom.ready()
    dom.serve()
"""
#: Leaves a daemon that has no ties to it, and says its pid.
DAEMON = "setsid sleep 1000 <&- >&- 2>&- & echo $!"


@pytest.fixture
def hvsim_() -> Iterator[Commands]:
    with commands() as made:
        yield made


def left_behind(hvsim_: Commands, folder: Path) -> tuple[Identity, int, int]:
    """A lab is up: its hypervisor, a daemon of Domain-0 that is in the record, and its minder."""
    (folder / "lab.toml").write_text(LAB)
    (folder / "late.py").write_text(LATE)
    with hvsim_.start("up", str(folder / "lab.toml")) as up:
        assert up.stdout is not None
        for line in up.stdout:
            if "late: created" in line:
                break
        daemon = int(hvsim_.ok("exec", "Domain-0", "--", "sh", "-c", DAEMON))
        hvsim_.ok("xenstore", "write", "/local/domain/1/data/go", "1")
        up.stdout.read()
    assert up.returncode == 0
    run = RunDir(hvsim_.base / "left").read()
    assert run.hypervisor is not None
    stat = proc.stat(daemon)
    assert stat is not None
    assert stat.name == "sleep"
    assert {daemon, stat.parent} <= {one.pid for one in family(run.hypervisor)}
    return run.hypervisor, daemon, stat.parent


@pytest.mark.interop
def test_down_ends_who_outlived_the_hypervisor(hvsim_: Commands, tmp_path: Path) -> None:
    """SIGKILL of the hypervisor while the daemon's minder stands still.

    Red when ``teardown.recorded`` returns nobody, when a dead lab's are not asked for, and when
    they are asked for by descent.
    """
    optional.node_library()
    hypervisor, daemon, minder = left_behind(hvsim_, tmp_path)
    with ExitStack() as stack:
        left = []
        for pid in (daemon, minder):
            left.append(os.pidfd_open(pid))
            stack.callback(os.close, left[-1])
        try:
            os.kill(minder, signal.SIGSTOP)
            os.kill(hypervisor.pid, signal.SIGKILL)
            wait(lambda: hvsim_.json("labs")[0]["state"] == "dead", "the lab to be dead")
            assert not family(hypervisor)
            assert select.select(left, [], [], 0.5)[0] == [], "nothing to be ended is left"
            hvsim_.ok("down")
            for handle in left:
                assert select.select([handle], [], [], 10.0)[0], "it outlived its lab"
        finally:
            for handle in left:
                if not select.select([handle], [], [], 0)[0]:
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
    assert list(hvsim_.base.iterdir()) == []
