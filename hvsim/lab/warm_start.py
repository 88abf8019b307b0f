"""A lab whose hypervisor and spawner are forks of this process, which has imported everything.

The start of three interpreters, and what they import, is most of what the start of a lab costs; who
makes hundreds of labs one after the other (``hvsim explore``) pays it once.  Such a lab is like any
other but for one thing: its processes do not carry its mark in their environment as the kernel
tells it (``proof.carries``), so that of one whose hypervisor was killed nobody knows them by that.

This process must have one thread.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import IO, Final, NoReturn

from hvsim.lab.boot import PRELOAD

_HYPERVISOR: Final = "hvsim.hypervisor.__main__"
_SPAWNER: Final = "hvsim.spawn.spawner"
_MORE: Final = ("hvsim.hypervisor.lockstep.server", "hvsim.toolstack.daemon.daemon")


class Child:
    """A fork of ours, as far as ``subprocess.Popen`` is needed for one."""

    def __init__(self, pid: int) -> None:
        self.pid: Final = pid
        self._pidfd = os.pidfd_open(pid)
        self._status: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status.  Raises: TimeoutError."""
        if self._status is None:
            ready = select.poll()
            ready.register(self._pidfd, select.POLLIN)
            if not ready.poll(None if timeout is None else timeout * 1000):
                raise TimeoutError(f"process {self.pid} has not ended within {timeout:g} s")
            self._status = 0
            with contextlib.suppress(ChildProcessError):  # who ended it has waited for it
                self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self._pidfd)
        return self._status

    def kill(self) -> None:
        """SIGKILL."""
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)


def prepare() -> None:
    """Import what the processes of a lab are made of."""
    spawner = importlib.import_module(_SPAWNER)
    spawner.warm_up((*spawner.DEFAULT_WARM, *PRELOAD))
    for name in (_HYPERVISOR, *_MORE):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def hypervisor(
    words: Sequence[str], fds: Iterable[int], log: IO[bytes], environment: Mapping[str, str]
) -> Child:
    """Start the hypervisor with its command line *words*, in place of a program."""
    main = importlib.import_module(_HYPERVISOR).main
    run = partial(main, list(words), spawner=_spawner)
    return _fork(run, fds, log, environment)


def _spawner(_command: Sequence[str], fd: int, log: IO[bytes] | None) -> Child:
    main = importlib.import_module(_SPAWNER).main
    return _fork(lambda: int(main(["--fd", str(fd), "--warmed"])), (fd,), log, {})


def _fork(
    run: Callable[[], int],
    fds: Iterable[int],
    log: IO[bytes] | None,
    environment: Mapping[str, str],
) -> Child:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Child(pid)
    _become(run, frozenset(fds), log, environment)


def _become(
    run: Callable[[], int],
    fds: frozenset[int],
    log: IO[bytes] | None,
    environment: Mapping[str, str],
) -> NoReturn:
    status = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.environ.update(environment)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        if log is not None:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        last = 2
        for fd in sorted(fds):
            os.closerange(last + 1, fd)
            last = fd
        os.closerange(last + 1, os.sysconf("SC_OPEN_MAX"))
        status = run()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
