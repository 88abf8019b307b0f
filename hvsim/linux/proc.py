"""What /proc says of processes (proc(5)): the one place that reads it.

Who is gone is no error: the answer is None, "" or nothing.  Numbers of processes are reused; who
keeps one looks at its start time as well (``hvsim.lab.processes``).
"""

import os
from typing import NamedTuple

STOPPED = frozenset("Tt")
"""States of a process that a signal or a tracer has stopped."""
GONE = frozenset("ZX")
"""States of a process that has ended."""


class Stat(NamedTuple):
    """The few fields of /proc/PID/stat that are needed here."""

    pid: int
    name: str
    state: str
    """One letter: R, S, D, T, t, Z, X, I."""
    parent: int
    start_time: int
    """Clock ticks since the boot of the machine."""
    processor: int
    """The CPU that it was last on."""


_LINE = 4096
"""Bytes that a file of one line has at most."""


def _line(path: str) -> bytes:
    """A file of one line.  Raises: OSError."""
    # Not open(): a listing reads one of these of every process there is, and each would take nine
    # system calls.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _LINE)
    finally:
        os.close(fd)


def stat(pid: int) -> Stat | None:
    """What there is of a process; None when there is no such process."""
    try:
        head, _, tail = _line(f"/proc/{pid}/stat").rpartition(b")")  # the name may hold anything
        fields = tail.split()
        name = head.partition(b"(")[2].decode("utf-8", "replace")
        parent, start, processor = int(fields[1]), int(fields[19]), int(fields[36])
    except (OSError, IndexError, ValueError):
        return None
    return Stat(pid, name, fields[0].decode(), parent, start, processor)


def state(pid: int, thread: int | None = None) -> str:
    """The state letter of a process, or of one of its threads; "" for what is not there."""
    where = f"/proc/{pid}/stat" if thread is None else f"/proc/{pid}/task/{thread}/stat"
    try:
        return _line(where).rpartition(b") ")[2][:1].decode()
    except OSError:
        return ""


class Times(NamedTuple):
    """How a thread has spent its life, in nanoseconds; it slept for what is missing."""

    running: int
    queued: int
    """Ready to run, on the queue of a CPU."""


def schedstat(pid: int) -> Times | None:
    """The times of a process's first thread; None for who is gone, and where the kernel does not
    tell (CONFIG_SCHED_INFO)."""
    try:
        running, queued, *_ = map(int, _line(f"/proc/{pid}/schedstat").split())
    except (OSError, ValueError):
        return None
    return Times(running, queued)


def threads(pid: int) -> list[int]:
    """The threads of a process."""
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def children(pid: int, thread: int | None = None) -> list[int]:
    """What a thread of a process, the first without a number, has started; nothing where the kernel
    does not tell (CONFIG_PROC_CHILDREN)."""
    try:
        with open(f"/proc/{pid}/task/{thread or pid}/children", "rb") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def pids() -> list[int]:
    """Every process that we may see."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def uptime() -> float:
    """Seconds since the boot of the machine."""
    with open("/proc/uptime", "rb") as file:
        return float(file.read().split()[0])


def boot_id() -> str:
    """A text that differs for every boot of this machine (random(4))."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
