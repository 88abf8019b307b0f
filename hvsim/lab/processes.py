"""Processes by identity, never by a bare number.

A pid is reused; (boot, pid, start time) is not. Whoever signals a process here holds a pidfd
that was opened first and checked afterwards, so that the signal reaches this process or none.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from hvsim.linux import proc
from hvsim.wire.closing import Closing


class Identity(NamedTuple):
    """One process of one boot of the machine.

    Attributes:
        start_time: clock ticks since boot, field 22 of /proc/PID/stat.
    """

    pid: int
    start_time: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """The identity of the live process `pid`; None when there is none (or a zombie)."""
        stat = proc.stat(pid)
        if stat is None or stat.state in proc.GONE:
            return None
        return cls(pid, stat.start_time, proc.boot_id())

    @classmethod
    def from_record(cls, record: Any) -> Identity | None:
        """Read back what `record()` wrote; None for anything else."""
        try:
            return cls(int(record["pid"]), int(record["start_time"]), str(record["boot"]))
        except (TypeError, KeyError, ValueError):
            return None

    def record(self) -> dict[str, Any]:
        """A JSON form for the run directory."""
        return {"pid": self.pid, "start_time": self.start_time, "boot": self.boot}

    def alive(self) -> bool:
        """Does this very process still run?"""
        return Identity.of(self.pid) == self

    def open(self) -> Handle | None:
        """A handle on this very process; None when it is gone."""
        try:
            fd = os.pidfd_open(self.pid)
        except (ProcessLookupError, PermissionError):
            return None
        if self.alive():
            return Handle(self, fd)
        os.close(fd)
        return None


class Handle(Closing):
    """A process held by pidfd. Use as a context manager, or call close()."""

    def __init__(self, identity: Identity, fd: int) -> None:
        self.identity = identity
        self.fd = fd

    def close(self) -> None:
        """Give the descriptor back; the process is not touched."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; a process that is gone already is no error."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.fd, number)

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for the end of the process; True when it has ended.

        A child of ours is reaped, so that not even a zombie is left.
        """
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        if not poll.poll(max(0.0, timeout) * 1000):
            return False
        with contextlib.suppress(ChildProcessError, OSError):
            os.waitid(os.P_PIDFD, self.fd, os.WEXITED)
        return True


def descendants(pid: int) -> list[int]:
    """The pids of all children of `pid`, their children and so on; `pid` is not among them."""
    children: dict[int, list[int]] = {}
    for one in proc.pids():
        stat = proc.stat(one)
        if stat is not None and stat.state not in proc.GONE:
            children.setdefault(stat.parent, []).append(stat.pid)
    found: list[int] = []
    todo = [pid]
    while todo:
        mine = children.get(todo.pop(), [])
        found += mine
        todo += mine
    return found


def family(root: Identity) -> list[Identity]:
    """`root` and all its descendants that live now; empty when `root` is gone."""
    if not root.alive():
        return []
    members = [Identity.of(pid) for pid in descendants(root.pid)]
    return [root, *(member for member in members if member is not None)]


@contextlib.contextmanager
def held(identities: Iterable[Identity]) -> Iterator[list[Handle]]:
    """Handles on those of `identities` that live; closed at the end."""
    handles = [handle for handle in (one.open() for one in identities) if handle is not None]
    try:
        yield handles
    finally:
        for handle in handles:
            handle.close()


def wait_all(handles: Iterable[Handle], timeout: float) -> list[Handle]:
    """Wait at most `timeout` seconds for the end of all; returns those that still run."""
    deadline = time.monotonic() + timeout
    return [handle for handle in handles if not handle.wait(deadline - time.monotonic())]
