"""dom0's init: it starts again what died of dom0's daemons.

On a real host that is the work of an init system, and dom0's kernel panics when its init ends.  So
here the two are one process: the kernel, whose end is the end of the lab in any case, looks after
the others, and nobody needs to look after it.

    xenstored     comes back with its journal
    xenconsoled   comes back and finds every console in the store; Xen's own starts after the
                  store, and anew after the store's death
    zmq-edge      is started when the others are, and comes back
    toolstack     comes back and finds its domains in the hypervisor, the store and its notes

A death is seen on a pidfd.  A daemon is spawned anew as soon as the hypervisor has released what
the dead one held; one that dies again and again is waited for longer each time, and then no more
(``hvsim.domain.restarts``).  What happened is in the ledger, in ``xl dmesg`` and, for whoever finds
no daemon to ask, in the file ``daemons`` of the run directory.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict

from hvsim.abi import errno
from hvsim.abi.hypercall import (
    HVSIM_DOMCTL_fault,
    HVSIM_DOMCTL_spawn,
    HVSIM_OP_note,
    HVSIM_SYSCTL_processes,
    HYPERVISOR_domctl,
    HYPERVISOR_hvsim_op,
    HYPERVISOR_sysctl,
)
from hvsim.domain.hypercall import HypercallError
from hvsim.domain.restarts import Restarts, given_up
from hvsim.wire.answers import ProcessInfo
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import changed, read, write

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain

FIRST_DELAY: Final = 0.05
MAX_DELAY: Final = 5.0
"""Seconds before a daemon that dies again and again is started again: at first, and at most."""
_TELL: Final = 0.02
"""Seconds after which it is told how a daemon ended."""
_STEP: Final = 0.001
"""Seconds between two looks whether a dead one was released, or a new one made."""
_STORE_STEP: Final = 0.01
"""Seconds between two looks whether the store serves."""
STORELESS: Final = ("toolstack", "zmq-edge")
"""Daemons that are of use without a store."""
DAEMONS: Final = "daemons"
"""The file's name, in the run directory."""


class DaemonRow(TypedDict):
    """What the file says of a daemon; see Daemon."""

    restarts: int
    last: str
    given_up: str


class Unmade(NamedTuple):
    """Instead of a process that could not be made: why."""

    why: str


class Daemon:
    """One daemon: how it is made, and what became of it.

    Attributes:
        follows: it is started when the store serves, and anew after the store's death.
        following: it is waited for that the store serves.
        pid: of the life under way, 0 between two.
        last: how the last life ended, in words.
        given_up: why it is not started any more; "" while it is.
    """

    def __init__(self, spec: Spawn, *, follows: bool = False) -> None:
        self.spec: Final = spec
        self.name: Final = spec.process
        self.follows: Final = follows
        self.restarts = Restarts(FIRST_DELAY, MAX_DELAY)
        self.following = False
        self.pid = 0
        self.last = ""
        self.given_up = ""

    def record(self) -> DaemonRow:
        """What the file says of it."""
        return {
            "restarts": self.restarts.count,
            "last": self.last,
            "given_up": self.given_up,
        }


class Init:
    """Looks after daemons for as long as its domain runs.

    Args:
        daemons: specifications of those that the hypervisor has spawned already.
        followers: of those that must find a store when they start, and lose it for good when it
            dies.
        store: the socket at which the store serves.
        mourned: the store's process, when nobody can bring that back; what needs a store is not
            started again after it.
        folder: where the file goes; None for nowhere.
        later: of those that nobody of the lab needs: they are started when it stands.
    """

    def __init__(
        self,
        dom: Domain,
        daemons: Iterable[object],
        followers: Iterable[object] = (),
        store: str = "",
        mourned: str = "",
        folder: Path | None = None,
        later: Iterable[object] = (),
    ) -> None:
        self._dom = dom
        self._store = store
        self._mourned = mourned
        self._file = folder / DAEMONS if folder is not None else None
        self._daemons = [Daemon(read(Spawn, raw)) for raw in daemons]
        self._daemons += [Daemon(read(Spawn, raw), follows=True) for raw in followers]
        self._later_ones = [Daemon(read(Spawn, raw)) for raw in later]

    def start(self) -> None:
        """Begin; what happens later happens in the domain's handlers."""
        for daemon in self._daemons:
            if daemon.follows:
                self._await_store(daemon)
            else:
                self._adopt(daemon)
        for daemon in self._later_ones:
            self._daemons.append(daemon)
            self._spawn(daemon)

    # -- a life ----------------------------------------------------------------------------------

    def _adopt(self, daemon: Daemon) -> None:
        """Watch the life of a daemon that runs or is being made."""
        row = self._row(daemon.name)
        if row is None:
            self._ended(daemon, self._last_row(daemon.name))  # it could not be made
            return
        pid = int(row["pid"])
        try:
            pidfd = os.pidfd_open(pid) if pid else -1
        except ProcessLookupError:
            pidfd = -1  # the hypervisor will know in a moment
        if pidfd < 0:
            self._later(_STEP, self._adopt, daemon)
            return
        daemon.pid = pid
        self._dom.vcpu.add_fd(pidfd, partial(self._died, daemon, pidfd))

    def _died(self, daemon: Daemon, pidfd: int) -> None:
        self._dom.vcpu.remove_fd(pidfd)
        os.close(pidfd)
        self._mourn(daemon)

    def _mourn(self, daemon: Daemon) -> None:
        """It is dead; the hypervisor may still have to learn of it."""
        row = self._row(daemon.name)
        if row is not None and row["pid"] == daemon.pid:
            self._later(_STEP, self._mourn, daemon)
            return
        self._ended(daemon, self._last_row(daemon.name))

    def _ended(self, daemon: Daemon, row: ProcessInfo | Unmade | None) -> None:
        pid, daemon.pid = daemon.pid, 0
        struck = isinstance(row, dict) and row["struck"]
        delay = daemon.restarts.died(self._dom.vcpu.now(), struck=struck)
        if self._mourned and daemon.name not in STORELESS and self._row(self._mourned) is None:
            daemon.given_up = f"{daemon.name} has ended, and needs the store, which has ended too"
        elif delay is None:
            daemon.given_up = (
                f"{given_up(daemon.name)}; its log is log/{daemon.name}.log in the lab's run "
                "directory, `hvsim down` ends the lab"
            )
        else:
            self._later(delay, self._spawn, daemon)
        self._dom.vcpu.call_later(_TELL, partial(self._tell, daemon, pid, row))
        self._write()

    def _tell(self, daemon: Daemon, pid: int, row: ProcessInfo | Unmade | None) -> None:
        """Say how a life ended; the hypervisor hears of it a moment after that it has."""
        if pid:
            row = next((one for one in self._rows(daemon.name) if one["pid"] == pid), row)
        daemon.last = _how(row)
        who = f"{daemon.name} (pid {pid})" if pid else daemon.name
        if daemon.given_up:
            self._note("init.given-up", f"{who} {daemon.last}; {daemon.given_up}")
        else:
            self._note("init.restart", f"{who} {daemon.last}: it is started again")
        self._write()

    def _spawn(self, daemon: Daemon) -> None:
        spec = write(changed(daemon.spec, args={**daemon.spec.args, "recover": True}))
        try:
            self._dom.hypercall.call(HYPERVISOR_domctl, HVSIM_DOMCTL_spawn, 0, spec)
        except HypercallError as failure:
            if failure.errno == errno.EEXIST:  # the dead one is still being cleared away
                self._later(_STEP, self._spawn, daemon)
                return
            self._dom.log(f"init: cannot start {daemon.name}: {failure}")
            self._ended(daemon, Unmade(str(failure)))
            return
        self._adopt(daemon)
        if daemon.name == "xenstored":
            for follower in self._daemons:
                if follower.follows:
                    self._await_store(follower)

    # -- those that need the store at their start ------------------------------------------------

    def _await_store(self, daemon: Daemon) -> None:
        if not daemon.following:
            daemon.following = True
            self._follow(daemon)

    def _follow(self, daemon: Daemon) -> None:
        """Once the store serves, start the daemon; one that runs is ended for that, for it holds
        on to a store that is no more."""
        lost = any(one.name == "xenstored" and one.given_up for one in self._daemons)
        if not lost and not self._serves():
            self._later(_STORE_STEP, self._follow, daemon)
            return
        daemon.following = False
        if lost:
            return
        if daemon.pid:
            call = (HYPERVISOR_domctl, HVSIM_DOMCTL_fault, 0, daemon.name, "kill")
            try:
                self._dom.hypercall.call(*call)
            except HypercallError as failure:  # it has died by itself: it is started again
                self._dom.log(f"init: {daemon.name}: {failure}")
        elif self._row(daemon.name) is None and not daemon.given_up:
            self._spawn(daemon)

    def _serves(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
            try:
                sock.connect(self._store)
            except OSError:
                return False
        return True

    # -- inside ----------------------------------------------------------------------------------

    def _rows(self, name: str) -> list[ProcessInfo]:
        ask = self._dom.hypercall.ask
        rows = ask(list[ProcessInfo], HYPERVISOR_sysctl, HVSIM_SYSCTL_processes)
        return [row for row in rows if row["domid"] == 0 and row["process"] == name]

    def _row(self, name: str) -> ProcessInfo | None:
        """The process of that name that lives, or is being made."""
        return next((row for row in self._rows(name) if not row["gone"]), None)

    def _last_row(self, name: str) -> ProcessInfo | None:
        """The last one of that name that is gone."""
        rows = [row for row in self._rows(name) if row["gone"]]
        return rows[-1] if rows else None

    def _later(self, delay: float, fn: Callable[[Daemon], None], daemon: Daemon) -> None:
        self._dom.vcpu.call_later(delay, partial(fn, daemon))

    def _note(self, kind: str, text: str) -> None:
        self._dom.log(f"init: {text}")
        try:
            self._dom.hypercall.call(HYPERVISOR_hvsim_op, HVSIM_OP_note, kind, 0, text)
        except HypercallError as failure:
            self._dom.log(f"init: {failure}")

    def _write(self) -> None:
        if self._file is None:
            return
        told = {daemon.name: daemon.record() for daemon in self._daemons}
        temporary = self._file.with_name(f".{DAEMONS}.{os.getpid()}")
        try:
            now = self._dom.vcpu.wall() / 1e9
            temporary.write_text(json.dumps({"time": now, "daemons": told}) + "\n")
            os.replace(temporary, self._file)
        except OSError as failure:  # it is a note; the daemons matter more
            self._dom.log(f"init: {self._file}: {failure.strerror}")


def _how(row: ProcessInfo | Unmade | None) -> str:
    """How a life ended, in words that follow its name."""
    if row is None:
        return "could not be made"
    if isinstance(row, Unmade):
        return f"could not be made ({row.why})"
    status = row["status"]
    if status is None:
        return "has ended" if row["pid"] else "could not be made"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return f"was killed by {signal.Signals(number).name}"
        except ValueError:
            return f"was killed by signal {number}"
    return f"ended with exit status {os.waitstatus_to_exitcode(status)}"
