"""Whether a process stands still is told by proc(5)."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hypervisor.stopped import is_stopped
from tests.support.waits import wait

LIMIT = 20.0
VFORK = """
import ctypes, os, signal, sys
libc = ctypes.PyDLL(None)
print("ready", flush=True)
sys.stdin.readline()
if libc.vfork() == 0:
    libc.raise_ = libc["raise"]
    libc.raise_(int(signal.SIGSTOP))
"""


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text() or 0)


def test_who_waits_in_vfork_for_a_child_that_is_stopped_stands_still() -> None:
    """A shell that begins a program while it is paused.  Red when only the state is looked at: it
    is D for ever, and `xl pause` would have failed after five seconds."""
    if not Path("/proc/self/task").joinpath(str(os.getpid()), "children").exists():
        pytest.skip("this kernel does not tell who has which children")
    command = [sys.executable, "-c", VFORK]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        child = 0
        try:
            assert process.stdout.readline() == "ready\n"
            assert not is_stopped(process.pid)
            process.stdin.write("\n")
            process.stdin.flush()
            wait(lambda: child_of(process.pid) > 0, "the child")
            child = child_of(process.pid)
            wait(lambda: state(child) == "T", "the child to stop")
            process.send_signal(signal.SIGSTOP)
            wait(lambda: state(process.pid) == "D", "the parent to wait for it")
            assert is_stopped(process.pid)
        finally:
            process.kill()
            if child:
                os.kill(child, signal.SIGKILL)
