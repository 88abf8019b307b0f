"""Starting a store to be measured: ours, the C xenstored, and oxenstored.

Xen's two come with Debian's ``xen-utils``; a preloaded library (``c/xendevices.c``) stands in for
the device nodes they open, so they run without Xen.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.store.client import Client
from hvsim.lab.real_daemons import INSTALL, find

HERE = Path(__file__).parents[1]
PLACE = HERE.parent / "hvsim" / "native" / "nodes" / "place.c"
START = 10.0
"""Seconds that a daemon may take until it answers."""
_CPUCLOCK_SCHED = 2

# oxenstored rotates its logs by renaming them: as root it would rename /dev/null, so never that.
_OXENSTORED_CONFIG = """\
pid-file = {folder}/pid
persistent = false
xenstored-log-file = {folder}/xenstored.log
access-log-file = {folder}/access.log
"""


class Unavailable(RuntimeError):
    """A reference cannot be run on this machine; the text says why."""


@dataclass(frozen=True)
class Daemon:
    """A store that serves at `socket`, in process `pid`."""

    name: str
    socket: str
    pid: int

    def cpu(self) -> float:
        """Seconds of processor time that the daemon has used."""
        # The kernel's name of another process's clock (see clock_getcpuclockid(3)).
        return time.clock_gettime(((~self.pid) << 3) | _CPUCLOCK_SCHED)

    def connect(self) -> Client:
        """A new connection."""
        return Client(self.socket)


@contextmanager
def hvsim(folder: Path) -> Iterator[Daemon]:
    """Our store, alone, as `python -m hvsim.xenstore` runs it."""
    path = str(folder / "socket")
    with _run("hvsim", [sys.executable, "-m", "hvsim.xenstore", "--socket", path], path) as daemon:
        yield daemon


@contextmanager
def c_xenstored(folder: Path) -> Iterator[Daemon]:
    """Xen's C daemon.  Raises Unavailable."""
    path = str(folder / "socket")
    settings = {"XENSTORED_RUNDIR": str(folder), "XENSTORED_ROOTDIR": str(folder)}
    with _devices() as library:
        command = [_find("xenstored"), "--no-fork"]
        settings["LD_PRELOAD"] = library
        with _run("C xenstored", command, path, settings) as daemon:
            yield daemon


@contextmanager
def oxenstored(folder: Path) -> Iterator[Daemon]:
    """Xen's OCaml daemon.  Raises Unavailable."""
    path = str(folder / "socket")
    config = folder / "oxenstored.conf"
    config.write_text(_OXENSTORED_CONFIG.format(folder=folder))
    settings = {"XENSTORED_RUNDIR": str(folder)}
    with _devices() as library:
        command = [
            _find("oxenstored"),
            "--no-fork",
            "--no-domain-init",
            "--config-file",
            str(config),
        ]
        settings["LD_PRELOAD"] = library
        with _run("oxenstored", command, path, settings) as daemon:
            yield daemon


def start(
    stack: ExitStack, kind: Callable[[Path], AbstractContextManager[Daemon]], folder: Path
) -> Daemon:
    """Start a daemon in `folder`; it ends with `stack`.  Raises Unavailable."""
    folder.mkdir()
    return stack.enter_context(kind(folder))


def _find(program: str) -> str:
    """Where xen-utils has put it.  Raises Unavailable."""
    found = find(program)
    if found is None:
        raise Unavailable(f"{program} is not installed: {INSTALL}")
    return str(found)


@contextmanager
def _devices() -> Iterator[str]:
    """The library that stands in for Xen's device nodes, compiled."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise Unavailable("a C compiler (cc) is needed to stand in for Xen's device nodes")
    with TemporaryDirectory(prefix="hvsim-bench-") as folder:
        library = f"{folder}/xendevices.so"
        sources = [str(HERE / "c" / "xendevices.c"), str(PLACE)]
        subprocess.run(
            [compiler, "-O2", "-shared", "-fPIC", "-o", library, *sources, "-ldl"], check=True
        )
        yield library


@contextmanager
def _run(
    name: str, command: Sequence[str], path: str, settings: Mapping[str, str] | None = None
) -> Iterator[Daemon]:
    process = subprocess.Popen(
        command,
        env={**os.environ, **(settings or {})},
        cwd=HERE.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _await_answer(name, process, path)
        yield Daemon(name, path, process.pid)
    finally:
        process.kill()
        process.communicate()


def _await_answer(name: str, process: "subprocess.Popen[bytes]", path: str) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        try:
            with Client(path) as client:
                client.write("/tool/ready", "1")
            return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.01)
    process.kill()
    said = process.communicate()[1].decode(errors="replace").strip()
    raise Unavailable(f"{name} does not serve: {said or f'no answer within {START:g} s'}")
