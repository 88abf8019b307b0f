"""A lab whose hypervisor and spawner are forks of this process, which has imported everything.

The start of three interpreters, and what they import, is most of what the start of a lab costs; who
makes hundreds of labs one after the other pays it once.  Such a lab is like any other but for one
thing: its processes do not carry its mark in their environment as the kernel tells it
(``proof.carries``), so that of one whose hypervisor was killed nobody knows them by that.

This process must have one thread; who has more has a ``nursery``.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import IO, Final, NoReturn

from hvsim.lab.boot import PRELOAD
from hvsim.spawn import compact

_HYPERVISOR: Final = "hvsim.hypervisor.__main__"
_SPAWNER: Final = "hvsim.spawn.spawner"
_MORE: Final = (
    "hvsim.hypervisor.lockstep.server",
    "hvsim.toolstack.daemon.daemon",
    "anyio._backends._asyncio",  # the toolstack's loop; found by its name when that starts
    "domains.driver",
)
_HIGH: Final = 256
"""Descriptors are put there before each is given its number."""


class Child:
    """A fork of ours, or of the nursery, as far as ``subprocess.Popen`` is needed for one.

    Args:
        pidfd: of it, from now on ours.

    Attributes:
        pid: its number.
    """

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid: Final = pid
        self._pidfd = pidfd
        self._status: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status; 0 when somebody else has waited for it, as its parent does.

        Raises: TimeoutError after *timeout* seconds.
        """
        if self._status is None:
            ready = select.poll()
            ready.register(self._pidfd, select.POLLIN)
            if not ready.poll(None if timeout is None else timeout * 1000):
                raise TimeoutError(f"process {self.pid} has not ended within {timeout:g} s")
            self._status = 0
            with contextlib.suppress(ChildProcessError):
                found = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
                if found is not None:
                    exited = found.si_code == os.CLD_EXITED
                    self._status = found.si_status if exited else -found.si_status
            os.close(self._pidfd)
        return self._status

    def kill(self) -> None:
        """SIGKILL."""
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)


def prepare(more: Sequence[str] = ()) -> None:
    """Import what the processes of a lab are made of, and *more* modules and packages."""
    spawner = importlib.import_module(_SPAWNER)
    spawner.prepare((*spawner.DEFAULT_WARM, *PRELOAD, *more))
    for name in (_HYPERVISOR, *_MORE):
        importlib.import_module(name)
    gc.collect()
    compact.settle()
    gc.freeze()


def hypervisor(
    words: Sequence[str], fds: Sequence[int], log: IO[bytes], environment: Mapping[str, str]
) -> Child:
    """Start the hypervisor (``launch.Start``)."""
    output = log.fileno()
    pid = fork_hypervisor(words, {**{fd: fd for fd in fds}, 1: output, 2: output}, environment)
    return Child(pid, os.pidfd_open(pid))


def fork_hypervisor(
    words: Sequence[str], fds: Mapping[int, int], environment: Mapping[str, str]
) -> int:
    """Start the hypervisor with its command line *words*; its pid.

    Args:
        fds: the numbers under which it has descriptors of ours.
        environment: what its own has besides ours.
    """
    main = importlib.import_module(_HYPERVISOR).main
    return _fork(partial(main, list(words), spawner=_spawner), fds, environment)


def _spawner(_command: Sequence[str], fd: int, log: IO[bytes] | None) -> Child:
    main = importlib.import_module(_SPAWNER).main
    output = 2 if log is None else log.fileno()
    words = ["--fd", str(fd), "--warmed"]
    pid = _fork(lambda: int(main(words)), {fd: fd, 1: output, 2: output}, {})
    return Child(pid, os.pidfd_open(pid))


def _fork(run: Callable[[], int], fds: Mapping[int, int], environment: Mapping[str, str]) -> int:
    """Run it in a child that has these descriptors, and no other."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        _become(run, fds, environment)
    return pid


def _become(
    run: Callable[[], int], fds: Mapping[int, int], environment: Mapping[str, str]
) -> NoReturn:
    status = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.environ.update(environment)
        high = {to: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH) for to, fd in fds.items()}
        high[0] = fcntl.fcntl(os.open(os.devnull, os.O_RDONLY), fcntl.F_DUPFD_CLOEXEC, _HIGH)
        os.closerange(0, _HIGH)
        for to, fd in high.items():
            os.dup2(fd, to)
        os.closerange(_HIGH, os.sysconf("SC_OPEN_MAX"))
        status = run()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
