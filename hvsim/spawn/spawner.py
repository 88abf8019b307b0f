"""The spawner: a warm fork server that makes domain processes for the hypervisor.

``python -m hvsim.spawn.spawner --fd N [--warm MODULE ...]``

It imports once what every domain needs and then forks: a domain costs 3 ms and about a MiB
instead of a fresh interpreter.  It has one thread, for clone copies only one.  It makes dom0's
processes itself; those with walls are made by its child, the *warden*
(:mod:`~hvsim.spawn.warden`), to which it passes such requests on.

Wire: msgpack over the ``SOCK_SEQPACKET`` descriptor N, one message a packet::

    ["spawn", token, spec] + [conn, upcall]           hypervisor -> spawner
    ["join", token, pid, spec] + [conn, upcall]       the same, in the namespaces of that process
    ["spawned", token, pid, missing] + [pidfd]        spawner -> hypervisor
    ["failed", token, text]                           instead of "spawned"
    ["exited", pid, status]                           after "spawned"; status as waitpid(2)

**Nothing outlives the hypervisor.**  It dies, and the kernel sends the spawner its death signal
(PR_SET_PDEATHSIG, SIGKILL); so goes the warden; and the warden is process 1 of a namespace in which
all domains and their programs are, so the kernel kills every process there is in it
(pid_namespaces(7)), whoever traces it, stops it, or has left its parents.  Neither of the two can
be named from within a domain.
"""

import argparse
import gc
import importlib
import itertools
import os
import pkgutil
import select
import signal
import socket
import sys
import traceback
from collections.abc import Iterable, Sequence
from typing import Final, NoReturn

from hvsim.domain import nmi
from hvsim.linux import syscalls
from hvsim.spawn import child as spawn_child
from hvsim.spawn import compact, readers, warden
from hvsim.spawn.sandbox import NAMESPACES, landlock, refusal, seccomp
from hvsim.spawn.sandbox.namespaces import Cloned, Cloner, clone_into
from hvsim.spawn.server import SETUP_TIMEOUT, Request, Run, SpawnServer
from hvsim.spawn.warden import Refused, WardenProcess
from hvsim.speak import note
from hvsim.wire.packing import pack
from hvsim.wire.typed import BadMessage
from hvsim.wire.walls import WHAT_THERE_IS

#: What runs in the child: ``run(conn_fd, upcall_fd, spec)``.
DEFAULT_ENTRY: Final = "hvsim.domain.start:run"
#: Packages whose modules are all imported before the first fork.
DEFAULT_WARM: Final = ("hvsim.abi", "hvsim.domain", "hvsim.drivers", "msgpack", "domains")
COLD: Final = {
    "__main__": "a program",
    "spawner": "this one",
    "loop": "stands on asyncio, which is big and registers functions that every forked child runs",
}
"""Modules of no use to domains, and why."""

#: What a request holds whose child gets no namespaces, or may do without. Something else may look
#: the same by chance; the child compares with its spec and refuses to be what it is not.
_DOM0: Final = pack("profile") + pack("dom0")
_BARE: Final = pack("namespaces")
_LENIENT: Final = pack("walls") + pack(WHAT_THERE_IS)


class Spawner(SpawnServer):
    """Makes processes without walls, and on a machine that allows none, those that may do without.

    Args:
        channel: the hypervisor's socket; it is taken over.
        run: what the child calls when its walls stand.
        made: who makes the others, or why there is nobody.
        proc: descriptor of the machine's /proc.
        setup_timeout: seconds that a child has to build its walls.
    """

    def __init__(
        self,
        channel: socket.socket,
        run: Run,
        made: WardenProcess | Refused,
        proc: int,
        setup_timeout: float,
    ) -> None:
        super().__init__(channel, channel, proc, setup_timeout)
        self._run = run
        self._warden = made
        self._cloner = Cloner()
        self._landlock_abi = landlock.probe_abi()
        self._readable = spawn_child.readable_paths()
        self._own_pidfd = os.pidfd_open(os.getpid())
        self._missing: dict[int, tuple[str, ...]] = {}  # by the pid of the child
        if isinstance(made, WardenProcess):
            self.poll.register(made.pidfd, select.POLLIN)

    def on_event(self, fd: int) -> bool:
        """The warden has died, and with it every domain: there is nobody left to serve."""
        note("spawner: the process that makes the domains has died")
        return False

    def passed_on(self, message: memoryview, fds: Sequence[int]) -> bool:
        """Requests for processes with walls are the warden's."""
        if not isinstance(self._warden, WardenProcess) or not self._is_walled():
            return False
        self._warden.pass_on(message, fds)
        return True

    def make(self, request: Request) -> Cloned:
        """A plain child for dom0; else one with as many namespaces as are to be had.

        Raises: WallError: it must have all.
        """
        if request.joined is not None:
            return self._join(request.joined)
        if not self._is_walled():
            # A process without walls may use any library, threads included: glibc's own fork.
            return Cloned(os.fork(), ())
        if not self.holds(_LENIENT):
            assert isinstance(self._warden, Refused)
            raise refusal.WallError(self._warden.wall, self._warden.why)
        cloned = self._cloner.clone(NAMESPACES)
        if cloned.pid:
            self._missing[cloned.pid] = cloned.missing
        return cloned

    def become(self, request: Request, cloned: Cloned, report: int) -> NoReturn:
        """Be that process."""
        spawn_child.become_domain(
            request.spec,
            walled=self._is_walled(),
            conn_fd=request.fds[0],
            upcall_fd=request.fds[1],
            report_fd=report,
            parent_pidfd=self._own_pidfd,
            readable=self._readable,
            landlock_abi=self._landlock_abi,
            missing=cloned.missing,
            run=self._run,
        )

    def _is_walled(self) -> bool:
        return not (self.holds(_DOM0) or self.holds(_BARE))

    def _join(self, pid: int) -> Cloned:
        """A child in the namespaces of one that we made before, but for the mount namespace."""
        host = next((child for child in self.children.values() if child.pid == pid), None)
        if host is None:
            raise BadMessage(f"there is no process {pid} any more whose namespaces to join")
        missing = self._missing.get(pid, tuple(f"{name}: left out" for name in NAMESPACES))
        absent = {entry.partition(":")[0] for entry in missing}
        names = [name for name in NAMESPACES if name not in absent]
        return Cloned(clone_into(host.pidfd, names), missing)


def warm_up(names: Iterable[str]) -> None:
    """Import modules, and every module below those that are packages.

    One that cannot be imported is named on standard error and left to the domain that wants
    it; ``__main__`` modules and the :data:`COLD` are passed over.
    """
    for name in names:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:  # it exists, but what it needs does not
                note(traceback.format_exc())
            continue
        except Exception:
            note(traceback.format_exc())
            continue
        if name == "domains":  # programs are many; only those that run are worth importing
            continue
        below = (info.name for info in pkgutil.iter_modules(getattr(module, "__path__", ())))
        warm_up(f"{name}.{leaf}" for leaf in below if leaf not in COLD)


def prepare(names: Iterable[str]) -> None:
    """Have in memory what every child needs: modules, readers of messages, filters."""
    warm_up(names)
    readers.make()
    for profile, network in itertools.product(("guest", "driver", "program"), (False, True)):
        try:
            # pid 1 of its own namespace: cached for all children
            seccomp.program(profile, 1, network=network)
        except OSError:
            break  # no table for this machine; each child reports it


def _resolve(entry: str) -> Run:
    module, _, function = entry.partition(":")
    run: Run = getattr(importlib.import_module(module), function)
    return run


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(
        prog="python -m hvsim.spawn.spawner",
        description="Fork server for domain processes. Started by the hypervisor.",
        epilog="example: python -m hvsim.spawn.spawner --fd 7 --warm hvsim.domain",
    )
    parser.add_argument("--fd", type=int, required=True, help="SEQPACKET socket, inherited")
    parser.add_argument(
        "--warm", nargs="*", default=DEFAULT_WARM, help="modules and packages to import first"
    )
    parser.add_argument(
        "--entry", default=DEFAULT_ENTRY, help="module:function that runs in the child"
    )
    parser.add_argument(
        "--setup-timeout",
        type=float,
        default=SETUP_TIMEOUT,
        help="seconds that a process has to build its walls",
    )
    parser.add_argument(
        "--warmed",
        action="store_true",
        help="who forked it has imported everything, and left no garbage",
    )
    options = parser.parse_args(argv)
    syscalls.set_death_signal(signal.SIGKILL)
    # The hypervisor may have died before that: then the socket has ended, and we with it.
    syscalls.set_name("hvsim-spawner")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nmi.ignore()
    if os.getpid() != os.getpgrp():
        os.setsid()  # the terminal's signals are the hypervisor's business
    channel = socket.socket(fileno=options.fd)
    channel.set_inheritable(False)
    if not options.warmed:
        prepare(options.warm)
    run = _resolve(options.entry)
    # Neither this process nor, until it asks for it, a child collects garbage: a collection
    # writes to every object and so copies every page.
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if not options.warmed:
        gc.collect()
        compact.settle()
    gc.disable()
    gc.freeze()
    limit = options.setup_timeout
    Spawner(channel, run, warden.start(channel, run, limit), proc, limit).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
