"""A look at processes, and signals to them and to all that they have started (proc(5)).

A domain may have hundreds of processes, each with threads, and every look at one of them is a file
of /proc.  So the looking is a job (``work``).
"""

import contextlib
import os
import signal
from collections.abc import Callable, Generator, Iterator
from itertools import chain
from typing import Final

from hvsim.hypervisor.work import Job, Work
from hvsim.linux import proc

MAX_DESCENDANTS: Final = 4096
"""Processes below one that are looked at: more than its limits let a domain have."""
LOOKS: Final = 8
"""Files of /proc that are read in one piece of work."""
RETRY: Final = (50_000, 2_000_000)
"""Nanoseconds between two looks whether all have stopped: at first, and at most."""
_HALTED: Final = proc.STOPPED | proc.GONE
"""States of threads that run no more: stopped, traced, gone."""


def is_running(pid: int) -> bool:
    """Whether a process is on a CPU or waits for one (state R)."""
    return proc.state(pid) == "R"


def below(pid: int) -> Iterator[int | None]:
    """The processes that a process has started, and those that they have; and None after each look.

    None of the former where the kernel does not tell (CONFIG_PROC_CHILDREN).
    """
    waiting = [pid]
    found = 0
    while waiting and found < MAX_DESCENDANTS:
        parent = waiting.pop()
        for thread in proc.threads(parent):
            children = proc.children(parent, thread)
            yield None
            found += len(children)
            waiting += children
            yield from children


def halted(pid: int) -> Iterator[bool | None]:
    """Whether each thread of a process in turn runs no more, with None after each look.

    What is gone does not run. SIGSTOP reaches threads one after the other. Who has called vfork(2)
    sleeps in the kernel until the child has begun its program, and a child that is stopped before
    that does not: the parent stands still then, though no signal has stopped it yet.
    """
    for thread in proc.threads(pid):
        state = proc.state(pid, thread)
        yield None
        if state == "D" and _has_stopped_child(pid, thread):
            state = "T"
            yield None
        yield state == "" or state in _HALTED


def _has_stopped_child(pid: int, thread: int) -> bool:
    children = proc.children(pid, thread)[:LOOKS]
    return any(proc.state(child) in proc.STOPPED for child in children)


def run_on(pid: int, cpus: list[int]) -> Job:
    """Let all threads of a process, and of what it has started, run on *cpus* only; what is gone
    is no error. A job."""
    looks = 0
    for one in chain((pid,), below(pid)):
        for thread in proc.threads(one) if one is not None else ():
            with contextlib.suppress(OSError):
                os.sched_setaffinity(thread, cpus)
            looks += 1
            if looks % LOOKS == 0:
                yield
        looks += 1
        if looks % LOOKS == 0:
            yield


class Signals:
    """Stops processes with all that they have started, lets them go on, and ends them.

    Args:
        later: calls back after some nanoseconds.
    """

    def __init__(self, work: Work, later: Callable[[int, Callable[[], None]], None]) -> None:
        self._work = work
        self._later = later
        self._wanted: dict[int, int] = {}
        self._still: set[int] = set()
        self._killing: set[int] = set()

    def tell(self, token: int, pid: int, number: int) -> None:
        """SIGSTOP or SIGCONT was sent to a process: send it to everything below it as well."""
        self._wanted[token] = number
        self._still.discard(token)
        self._work.start(self._pass(token, pid, number, set(), RETRY[0]))

    def still(self, token: int) -> bool:
        """Whether nothing of a process that was told to stop runs any more."""
        return token in self._still

    def forget(self, token: int) -> None:
        """A process is gone."""
        self._wanted.pop(token, None)
        self._still.discard(token)
        self._killing.discard(token)

    def kill(self, token: int, pid: int, pidfd: int) -> None:
        """Kill everything below a process and then the process itself, so that nobody inherits
        what it has started.  The pidfd is open until :meth:`forget`."""
        if token not in self._killing:
            self._killing.add(token)
            self._work.start(self._end(token, pid, pidfd))

    def _end(self, token: int, pid: int, pidfd: int) -> Job:
        if not (yield from _tell(pid, signal.SIGKILL, set(), lambda: token in self._killing)):
            return
        self._killing.discard(token)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)

    def _pass(self, token: int, pid: int, number: int, told: set[int], delay: int) -> Job:
        """Tell everybody, and wait until all have stopped."""

        def wanted() -> bool:
            return self._wanted.get(token) == number

        if not (yield from _tell(pid, number, told, wanted)) or number != signal.SIGSTOP:
            return
        looks, moving = 0, False
        for one in (pid, *told):
            for state in halted(one):
                if state is None:
                    looks += 1
                    if looks % LOOKS == 0:
                        yield
                        if not wanted():
                            return
                elif not state:
                    moving = True
        if not moving:
            self._still.add(token)
            return

        def again() -> None:
            if wanted():
                self._work.start(self._pass(token, pid, number, told, min(2 * delay, RETRY[1])))

        self._later(delay, again)


def _tell(
    pid: int, number: int, told: set[int], wanted: Callable[[], bool]
) -> Generator[None, None, bool]:
    """Tell everybody below a process who was not *told* yet, again while somebody new appears, as
    a process that is not stopped yet may fork.  What is stopped keeps its place in the domain's
    limit of processes, so that this ends.  Whether it was *wanted* to the end."""
    looks, fresh = 0, True
    while fresh:
        fresh = False
        for child in below(pid):
            if child is not None and child in told:
                continue
            looks += 1
            if child is not None:
                told.add(child)
                fresh = True
                _send(child, number)
            elif looks % LOOKS == 0:
                yield
                if not wanted():
                    return False
    return True


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        pidfd = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)
