"""The hypervisor is started: detached, told its boot config, and waited for.

The order keeps a killed launcher from leaving an unrecorded process: the hypervisor is
started and does nothing until it has read its boot config; it is written into the record; then
the config is sent. When the launcher dies before that, the hypervisor reads the end of the
file and ends.
"""

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, Final, Protocol

import hvsim
from hvsim.errors import HvsimError
from hvsim.lab import logs, proof
from hvsim.lab.inquiry import Inquiry
from hvsim.lab.processes import Identity
from hvsim.lab.rundir import RunDir
from hvsim.wire.boot import Boot
from hvsim.wire.packing import MALFORMED, pack, unpack
from hvsim.wire.typed import write

LOOK = 0.3
LOOKS = 3
"""Seconds of silence before somebody looks who stands still, and how often it must be seen."""
READY_TIMEOUT = 20.0
"""Seconds for hypervisor, spawner and dom0's processes to be spawned."""


INTERPRETER: Final = (sys.executable, "-X", "utf8", "-P")
"""Every process of a lab: paths and names are bytes to it, in whatever locale `up` was typed; and
where it was typed is no place to look for modules."""


class Child(Protocol):
    """A process of ours, as ``subprocess.Popen``."""

    @property
    def pid(self) -> int:
        """Its number."""

    def wait(self) -> int:
        """Its exit status."""

    def kill(self) -> None:
        """SIGKILL."""


Start = Callable[[Sequence[str], Sequence[int], IO[bytes], Mapping[str, str]], Child]
"""Starts a hypervisor: its command line without the program, the descriptors that it inherits,
where its output goes, and what its environment has besides ours."""


def as_program(
    words: Sequence[str], fds: Sequence[int], log: IO[bytes], environment: Mapping[str, str]
) -> Child:
    """Start it as what it is."""
    return subprocess.Popen(
        [*INTERPRETER, "-m", "hvsim.hypervisor", *words],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        pass_fds=fds,
        env={**os.environ, **our_tree(), **environment},
    )


def our_tree() -> dict[str, str]:
    """A checkout is handed on by its name: it may have been found as the place where ``python -m
    hvsim.cli`` was typed, and there nobody below looks."""
    if os.path.dirname(os.path.dirname(os.path.abspath(hvsim.__file__))) != hvsim.TREE:
        return {}  # installed
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return {"PYTHONPATH": os.pathsep.join(filter(None, dict.fromkeys([*named, hvsim.TREE])))}


def launch(run: RunDir, config: Boot, start: Start = as_program) -> Child:
    """Start the hypervisor of `run` with `config`; returns when it says that it is ready.

    Raises HvsimError when it ends or stays silent; it is dead then.
    """
    packed = pack(write(config))
    config_read, config_write = os.pipe()
    notice_read, notice_write = os.pipe()
    lock = proof.lock(run.lock)
    try:
        with open(run.log / "hypervisor.log", "ab") as log:
            fds = {"config": config_read, "notice": notice_write, "lock": lock}
            words = [word for name, fd in fds.items() for word in (f"--{name}-fd", str(fd))]
            environment = {proof.MARK: str(run.record["mark"])}
            process = start(words, list(fds.values()), log, environment)
    except BaseException:
        for fd in (config_read, config_write, notice_read, notice_write):
            os.close(fd)
        raise
    finally:
        os.close(lock)
    os.close(config_read)
    os.close(notice_write)
    try:
        identity = Identity.of(process.pid)
        if identity is None:
            raise HvsimError("the hypervisor ended at once", *_ends(run))
        run.write(hypervisor=identity.record())
        _send(config_write, packed)
        os.close(config_write)
        config_write = -1
        notice = _notice(notice_read, READY_TIMEOUT, run)
        if notice is None or not notice.get("ready"):
            said = f": {notice['error']}" if notice and notice.get("error") else ""
            if notice is None:
                said = f": {run.why_ended()}" if not run.running else ": it said nothing"
            raise HvsimError(f"the hypervisor did not become ready{said}", *_ends(run))
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        if config_write >= 0:
            os.close(config_write)
        os.close(notice_read)
    return process


def _send(fd: int, data: bytes) -> None:
    """Write all of `data`. A reader that is gone is noticed by what it does not answer."""
    with contextlib.suppress(BrokenPipeError):
        while data:
            data = data[os.write(fd, data) :]


def _notice(fd: int, timeout: float, run: RunDir) -> dict[str, Any] | None:
    """The one map the hypervisor sends, read to the end of the pipe; None when there is none.

    Raises HvsimError when it, or its spawner, stands still, or the time has passed.
    """
    began = time.monotonic()
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    data = b""
    seen = 0
    while True:
        if not poll.poll(LOOK * 1000):
            still = [one.text for one in Inquiry(run).everybody() if one.lasting]
            seen = seen + 1 if still else 0
            if seen >= LOOKS:
                raise HvsimError(f"the hypervisor did not become ready: {'; '.join(still)}")
            if time.monotonic() - began > timeout:
                raise HvsimError(
                    f"the hypervisor runs, and did not become ready within {timeout:g} s",
                    *_ends(run),
                )
            continue
        piece = os.read(fd, 65536)
        if not piece:
            break
        data += piece
    try:
        notice = unpack(data)
    except MALFORMED:
        return None
    return notice if isinstance(notice, dict) else None


def _ends(run: RunDir) -> list[str]:
    """The last lines of the logs, for an error text: the run directory is about to go."""
    return logs.ends(sorted(run.log.glob("*.log")), 12)
