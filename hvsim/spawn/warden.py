"""The warden: the process that makes the domains with walls, as process 1 of a namespace for them.

It is a fork of the spawner, as warm as that, in namespaces around those of all domains: a process
namespace (they end when it ends), a mount namespace (where it prepares what their root directories
have in common), and for an ordinary user the user namespace in which he may do that.  It keeps the
rights to make walls, and never runs anything of a domain.

A further process of a domain (``hvsim exec``) is born into the domain's process namespace.  The
programs themselves live one namespace below, where they see neither it nor any other process that
is a kernel to them (:mod:`~hvsim.spawn.sandbox.keeper`).
"""

import os
import select
import signal
import socket
import stat
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from hvsim import shortage
from hvsim.linux import syscalls
from hvsim.spawn import child as spawn_child
from hvsim.spawn.sandbox import identity, keeper, landlock, skeleton
from hvsim.spawn.sandbox.namespaces import FLAGS, Cloned, clone_into, raw_clone
from hvsim.spawn.sandbox.place import Place
from hvsim.spawn.sandbox.refusal import WallError
from hvsim.spawn.sandbox.system_files import TUN
from hvsim.spawn.server import Child, Request, Run, SpawnServer
from hvsim.speak import note
from hvsim.wire import rights
from hvsim.wire.packing import pack, unpack
from hvsim.wire.peer import DOMAINS
from hvsim.wire.typed import BadMessage

PASS_TIMEOUT: Final = 5.0
"""Seconds that a request may wait for the warden to take it."""
_BORN_WITH: Final = FLAGS["pid-ns"] | FLAGS["ipc-ns"]
_LEVELS: Final = "/proc/sys/user/max_user_namespaces"


@dataclass(frozen=True)
class Refused:
    """This machine allows no warden: which wall it is that cannot be had, and why."""

    wall: str
    why: str


@dataclass(frozen=True)
class WardenProcess:
    """The warden, as the spawner sees it."""

    pidfd: int
    channel: socket.socket

    def pass_on(self, message: memoryview, fds: Sequence[int]) -> None:
        """Give it a request.  Raises: BadMessage: it takes none."""
        poll = select.poll()
        poll.register(self.channel.fileno(), select.POLLOUT)
        if not poll.poll(PASS_TIMEOUT * 1000):
            raise BadMessage(f"the warden has taken no request for {PASS_TIMEOUT:g} s")
        # The very bytes of the buffer: a copy would stay in this process's memory.
        rights.send(self.channel, [message], fds)


def start(answers: socket.socket, run: Run, setup_timeout: float) -> WardenProcess | Refused:
    """Make the warden.

    Args:
        answers: where it sends what becomes of requests.
        run: what a child calls when its walls stand.
        setup_timeout: seconds that a child has for that.
    """
    if _level_of_user_namespaces() == 0:
        return Refused("user-ns", f"{_LEVELS} is 0")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    parent = os.pidfd_open(os.getpid())
    ids = (os.geteuid(), os.getegid())
    apart = FLAGS["user-ns"] if ids[0] else 0
    try:
        pid = raw_clone(apart | FLAGS["pid-ns"] | FLAGS["mount-ns"])
    except OSError as error:
        os.close(parent)
        ours.close()
        theirs.close()
        name = "user-ns" if apart else "pid-ns"
        names = [name, "pid-ns", "mount-ns"]
        return Refused(name, shortage.no_namespace(dict.fromkeys(names), error))
    if pid == 0:
        ours.close()
        _be_warden(theirs, answers, run, parent, setup_timeout)
    theirs.close()
    os.close(parent)
    pidfd = os.pidfd_open(pid)
    refused = _let_go(pid, ours, ids if apart else None)
    if refused is not None:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(pidfd)
        ours.close()
        return refused
    return WardenProcess(pidfd, ours)


def _let_go(pid: int, wire: socket.socket, ids: tuple[int, int] | None) -> Refused | None:
    """Give the new warden its id map, and hear whether it may make walls: None, or why not."""
    try:
        if ids is not None:
            proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                uid, gid = ids
                identity.write_map(proc, str(pid), f"{uid} {uid} 1", f"{gid} {gid} 1")
            finally:
                os.close(proc)
        wire.send(b"go")
        said = wire.recv(4096)
    except OSError as error:
        return Refused("user-ns", error.strerror or "refused")
    if not said:
        return Refused("pid-ns", "the process that makes the domains has died")
    why = unpack(said)
    return None if why is None else Refused(*why)


def _level_of_user_namespaces() -> int:
    """How many there may be; 1 where the machine does not say."""
    try:
        with open(_LEVELS, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 1


def _be_warden(
    wire: socket.socket, answers: socket.socket, run: Run, parent: int, setup_timeout: float
) -> NoReturn:
    """In the child: prepare the workshop, say so, and serve until the spawner goes."""
    try:
        syscalls.set_death_signal(signal.SIGKILL)
        syscalls.set_name("hvsim-warden")
        wire.recv(2)  # until our id means something
        try:
            place = _prepare(_spare_ids())
        except WallError as error:
            wire.send(pack([error.wall, error.why]))
            os._exit(1)
        except OSError as error:
            wire.send(pack(["mount-ns", shortage.no_namespace(["mount-ns"], error)]))
            os._exit(1)
        # It may have died before we asked to die with it.
        if select.select([parent], [], [], 0)[0]:
            os._exit(1)
        os.close(parent)
        wire.send(pack(None))
        Warden(wire, answers, run, place, setup_timeout).serve()
        os._exit(0)
    except BaseException:
        note(traceback.format_exc())
    finally:
        os._exit(1)


def _spare_ids() -> bool:
    """Whether there are user ids for domains of their own: of root, where it has all of them."""
    if os.geteuid():
        return False
    with open("/proc/self/uid_map", encoding="ascii") as file:
        for line in file:
            first, _, count = map(int, line.split())
            if first <= DOMAINS and identity.own_id(1 << 22) <= first + count:
                return True
    return False


def _prepare(spare_ids: bool) -> Place:
    """Raises: WallError, OSError."""
    readable = spawn_child.readable_paths()
    guests = skeleton.for_guests(readable)
    if spare_ids:
        _check_readable(guests.parts)
    networked = skeleton.for_guests([*readable, TUN])
    programs = skeleton.for_programs(readable)
    for one in (guests, networked, programs):
        _ = one.name  # known before the first child, which would have to find it out
    ids = (os.geteuid(), os.getegid())
    proc = skeleton.open_workshop()
    return Place(proc, ids, spare_ids, guests, networked, programs)


def _check_readable(parts: Iterable[str]) -> None:
    """Raises: WallError: domains with ids of their own could not read what they run from."""
    for part in parts:
        mode = os.stat(part).st_mode
        wanted = 0o5 if stat.S_ISDIR(mode) else 0o4
        if mode & wanted != wanted:
            raise WallError(
                "own-uid",
                f"{part} may not be read by others, and a domain is somebody else "
                f"(`chmod -R o+rX {part}`)",
            )


class Warden(SpawnServer):
    """Makes processes that build all their walls.

    Args:
        wire: requests from the spawner.
        answers: the hypervisor's socket.
        run: what a child calls when its walls stand.
        place: what it hands to its children.
        setup_timeout: seconds that they have to build their walls.
    """

    def __init__(
        self,
        wire: socket.socket,
        answers: socket.socket,
        run: Run,
        place: Place,
        setup_timeout: float,
    ) -> None:
        super().__init__(wire, answers, place.proc, setup_timeout)
        self._run = run
        self._place = place
        self._landlock_abi = landlock.probe_abi()
        self._readable = spawn_child.readable_paths()
        self._own_pidfd = os.pidfd_open(os.getpid())
        self._below: dict[int, int] = {}
        """pid of a domain's first process -> the process namespace of its programs."""

    def make(self, request: Request) -> Cloned:
        """A child in a process namespace of its own, or in that of the domain it joins."""
        if request.joined is None:
            return Cloned(raw_clone(_BORN_WITH), ())
        host = self._host(request.joined)
        self._programs_of(host)
        return Cloned(clone_into(host.pidfd, ("pid-ns",)), ())

    def become(self, request: Request, cloned: Cloned, report: int) -> NoReturn:
        """Be that process."""
        joined = None if request.joined is None else self._host(request.joined)
        spawn_child.become_domain(
            request.spec,
            walled=True,
            conn_fd=request.fds[0],
            upcall_fd=request.fds[1],
            report_fd=report,
            parent_pidfd=self._own_pidfd,
            readable=self._readable,
            landlock_abi=self._landlock_abi,
            place=self._place,
            joined=None if joined is None else (joined.pidfd, self._below[joined.pid]),
            run=self._run,
        )

    def forget(self, child: Child) -> None:
        """Its namespace goes with it."""
        below = self._below.pop(child.pid, None)
        if below is not None:
            os.close(below)

    def _host(self, pid: int) -> Child:
        for child in self.children.values():
            if child.pid == pid:
                return child
        raise BadMessage(f"there is no process {pid} any more whose namespaces to join")

    def _programs_of(self, host: Child) -> None:
        """See to it that the domain has a process namespace for its programs, below its own."""
        if host.pid not in self._below:
            below = keeper.namespace_of(self.proc, host.pid)
            if below is None:
                own = identity.own_id(host.pid) if self._place.spare_ids else None
                below = keeper.start_below(self.proc, host.pidfd, own)
            self._below[host.pid] = below
