"""The stores that are measured: that of a running lab, and Xen's own two.

Xen's come with Debian's ``xen-utils``; a preloaded library (``c/xendevices.c``) stands in for the
device nodes they open and for their run directory, so they run without Xen.  They are set up as
Debian's /etc/init.d/xen and /etc/xen/oxenstored.conf do it, with all that they write in a folder of
their own.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lab import lab, pids
from benchmarks.needs import LeftOut, xen_program
from benchmarks.programs import compiled
from benchmarks.store.client import Client

START = 10.0
"""Seconds that a daemon may take until it answers."""

C, C_ON_DISK, OCAML = "C xenstored", "C xenstored, tdb on disk", "oxenstored"

# Debian's /etc/xen/oxenstored.conf, comments left out, and where Debian has the logs: oxenstored
# keeps an access log unless told otherwise, with every request that changes something.
_OXENSTORED_CONF = """\
pid-file = {folder}/xenstored.pid
test-eagain = false
merge-activate = true
conflict-burst-limit = 5.0
conflict-max-history-seconds = 0.05
conflict-rate-limit-is-aggregate = true
perms-activate = true
perms-watch-activate = true
quota-activate = true
quota-maxentity = 1000
quota-maxsize = 2048
quota-maxwatch = 100
quota-transaction = 10
quota-maxrequests = 1024
quota-path-max = 1024
quota-maxoutstanding = 1024
quota-maxwatchevents = 1024
persistent = false
xenstored-kva = /proc/xen/xsd_kva
xenstored-port = /proc/xen/xsd_port
xenstored-log-file = {folder}/xenstored.log
access-log-file = {folder}/xenstored-access.log
"""


@dataclass(frozen=True)
class Daemon:
    """A store that serves at `socket`, in process `pid`."""

    name: str
    socket: str
    pid: int


@contextmanager
def of_lab(file: Path, name: str) -> Iterator[Daemon]:
    """The store of a running lab: with its journal, its keeper, and a lab beside it."""
    with lab(file, name) as running:
        yield Daemon("hvsim", str(running.run.xenstored), pids(running)["xenstored"])


@contextmanager
def started(name: str, folder: Path) -> Iterator[Daemon]:
    """One of Xen's own, with everything that it writes in the new directory `folder`.

    Raises: LeftOut where it cannot run.
    """
    folder.mkdir()
    socket = str(folder / "socket")
    settings = {
        "LD_PRELOAD": compiled("xendevices"),
        "XENSTORED_RUNDIR": str(folder),
        "XENSTORED_ROOTDIR": str(folder),
    }
    with serving(name, _command(name, folder), socket, settings) as daemon:
        yield daemon


def _command(name: str, folder: Path) -> list[str]:
    if name == OCAML:
        config = folder / "oxenstored.conf"
        config.write_text(_OXENSTORED_CONF.format(folder=folder), encoding="utf-8")
        return [xen_program("oxenstored"), "--no-fork", "--no-domain-init", "--config-file",
                str(config)]  # fmt: skip
    words = [xen_program("xenstored"), "--no-fork", "--pid-file", str(folder / "xenstored.pid")]
    return [*words, "--internal-db=off"] if name == C_ON_DISK else words


@contextmanager
def serving(
    name: str, command: Sequence[str], socket: str, settings: Mapping[str, str]
) -> Iterator[Daemon]:
    """A daemon that `command` starts, with these variables, once it answers at `socket`.

    Raises: LeftOut, with its last words.
    """
    with tempfile.TemporaryFile() as said:  # no pipe, which might fill up
        process = subprocess.Popen(
            command,
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        try:
            if not _answers(process, socket):
                said.seek(0)
                why = said.read().decode(errors="replace").strip()
                raise LeftOut(f"{name} does not serve: {why or f'no answer within {START:g} s'}")
            yield Daemon(name, socket, process.pid)
        finally:
            process.kill()
            process.wait()


def _answers(process: "subprocess.Popen[bytes]", socket: str) -> bool:
    """Whether the daemon serves, before it ends or START is over."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with Client(socket) as client:
                client.write("/tool/ready", "1")
            return True
        except OSError:
            time.sleep(0.01)
    return False
