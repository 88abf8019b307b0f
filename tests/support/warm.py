"""`hvsim` commands from a process that has imported everything already: a fork in place of a start.

::

    done = warm.run(["xl", "list"], environment, cwd=None, timeout=90)

What runs is the command's own ``main``, in a process, an environment, a directory and with standard
streams of its own, to its own end.  Only the interpreter's start and the imports are made once for
all commands of a test run, 0.2 s of CPU each.  What decides at the start of an interpreter
(``same_interpreter``) and whatever is done before that needs a start: ``Commands.start``, or
``Commands.run``, which sees to it by itself.

A lab that such a command brings up is a fork as well where ``forks`` says so
(``hvsim.lab.warm_start``): two thirds of a second of CPU each.

``python -m tests.support.warm --fd N`` is that process; it ends when the tests close their end.
"""

import argparse
import contextlib
import importlib
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgpack
import pytest

from hvsim import cli
from hvsim.lab import up, warm_start
from hvsim.wire import rights

ROOT: Final = Path(__file__).resolve().parents[2]
_ROOMS: Final = ("commands", "demo", "faults", "lab", "observe", "toolstack")
"""Where the commands' imports come from."""
_AT_START: Final = ("PYTHON", "LC_", "LANG")
"""How variables begin that an interpreter looks at when it starts."""
_LARGEST: Final = 1 << 20
_PID: Final = 8
"""Bytes in which a command's number is told, before its status."""
_MOST_OPEN: Final = 1024
"""More than such a process has open."""


def same_interpreter(environment: Mapping[str, str]) -> bool:
    """Whether an interpreter that starts in *environment* is like the one that we keep."""
    return _of_start(environment) == _of_start(_environment())


def _of_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if key.startswith(_AT_START)}


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


# -- the tests' side ------------------------------------------------------------------------------


class Warm:
    """Owns such a process and asks it for commands; several at a time are one after the other."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fd = theirs.fileno()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.warm", "--fd", str(fd)],
            pass_fds=[fd],
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env=_environment(),
        )
        theirs.close()

    def close(self) -> None:
        """End the process."""
        self._ours.close()
        self.process.wait()

    def run(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        cwd: str,
        timeout: float,
        forks: bool,
    ) -> "subprocess.CompletedProcess[str]":
        """Run ``hvsim *words*`` to its end, and until nobody writes to its outputs any more.

        Raises: subprocess.TimeoutExpired: it was killed then.
        """
        with contextlib.ExitStack() as stack:
            request = msgpack.packb(
                [list(words), dict(environment), cwd, forks], unicode_errors="surrogateescape"
            )
            output, errors, status = (_pipe(stack) for _ in range(3))
            rights.send(
                self._ours, [request], [end.fileno() for _, end in (output, errors, status)]
            )
            for _, end in (output, errors, status):
                end.close()
            pid = int.from_bytes(os.read(status[0].fileno(), _PID))
            said = {end.fileno(): b"" for end, _ in (output, errors, status)}
            ended = _collect(said, timeout)
            texts = [said[end.fileno()] for end, _ in (output, errors)]
            argv = ["hvsim", *words]
            if not ended:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(argv, timeout, *texts)
            return subprocess.CompletedProcess(
                argv, int(said[status[0].fileno()]), *map(_text, texts)
            )


def _pipe(stack: contextlib.ExitStack) -> tuple[Any, Any]:
    read, write = os.pipe()
    return (
        stack.enter_context(open(read, "rb", buffering=0)),
        stack.enter_context(open(write, "wb", buffering=0)),
    )


def _collect(said: dict[int, bytes], timeout: float) -> bool:
    """Read pipes to their ends; whether these came within *timeout* seconds."""
    deadline = time.monotonic() + timeout
    waiting = set(said)
    while waiting:
        ready = select.select(waiting, [], [], max(0.0, deadline - time.monotonic()))[0]
        if not ready:
            return False
        for fd in ready:
            data = os.read(fd, 1 << 16)
            said[fd] += data
            if not data:
                waiting.remove(fd)
    return True


def _text(data: bytes) -> str:
    """As ``subprocess`` makes text of what it reads."""
    return data.decode().replace("\r\n", "\n").replace("\r", "\n")


_kept: list[Warm] = []


def run(
    words: Sequence[str],
    environment: Mapping[str, str],
    cwd: Path | None,
    timeout: float,
    *,
    forks: bool = False,
) -> "subprocess.CompletedProcess[str]":
    """One command, from the process of this test run, which is started by the first.

    Args:
        forks: whether the hypervisor of a lab that it brings up is a fork, and no program.
    """
    if not _kept:
        _kept.append(Warm())
    return _kept[0].run(words, environment, str(cwd or os.getcwd()), timeout, forks)


@pytest.fixture(scope="session", autouse=True)
def warm_commands(nothing_left_behind: None) -> Iterator[None]:
    """The process goes before it is looked for what the tests have left."""
    yield
    while _kept:
        _kept.pop().close()


# -- the process ----------------------------------------------------------------------------------


def main() -> int:
    """Fork a command for each request; returns in the process of a command, with its status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True, help="a socket to the tests")
    requests = socket.socket(fileno=parser.parse_args().fd)
    _import_all()
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # is for the tests and the commands
    running: dict[int, tuple[int, int]] = {}
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd != requests.fileno():
                poll.unregister(fd)
                _tell_end(fd, *running.pop(fd))
                continue
            data, fds = rights.receive(requests, _LARGEST, 3)
            if not data:
                return 0
            *outputs, status = fds
            pid = os.fork()
            if not pid:
                signal.signal(signal.SIGINT, interrupt)
                words, environment, cwd, forks = msgpack.unpackb(
                    data, unicode_errors="surrogateescape"
                )
                if forks:
                    defaults = up.bring_up.__kwdefaults__ or {}
                    up.bring_up.__kwdefaults__ = {**defaults, "start": warm_start.hypervisor}
                return _command(words, environment, cwd, *outputs)
            rights.close(outputs)
            os.write(status, pid.to_bytes(_PID))
            pidfd = os.pidfd_open(pid)
            running[pidfd] = pid, status
            poll.register(pidfd, select.POLLIN)


def _import_all() -> None:
    for room in _ROOMS:
        package = importlib.import_module(f"hvsim.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    warm_start.prepare()


def _command(
    words: list[str], environment: dict[str, str], cwd: str, output: int, errors: int
) -> int:
    """What a fresh interpreter would be, as far as a program can tell; then the command."""
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.closerange(3, _MOST_OPEN)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path[0] = cwd
    sys.argv = [str(cli.__file__), *words]
    sys.orig_argv = [sys.executable, "-m", cli.__name__, *words]
    return cli.main()


def _tell_end(pidfd: int, pid: int, status: int) -> None:
    os.close(pidfd)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):  # waited long enough
        os.write(status, b"%d" % code)
    os.close(status)


if __name__ == "__main__":
    sys.exit(main())
