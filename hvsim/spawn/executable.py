"""Starting a program of the machine from a process of a domain, as a kernel starts init.

The program gets three descriptors that its parent was given, the environment in which Xen's own
programs find their domain, and, where the node library was built, Xen's device nodes.  Its parent
stands for the kernel below it: it serves the nodes and sees its end.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import socket
import termios
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NoReturn

from hvsim.devnodes.library import node_library
from hvsim.devnodes.server import NodeServer
from hvsim.linux import syscalls
from hvsim.spawn.sandbox import capabilities, descriptors, seccomp
from hvsim.spawn.sandbox.root import STORE_SOCKET
from hvsim.wire.spawn import Spawn
from hvsim.wire.walls import PATH

if TYPE_CHECKING:
    from hvsim.domain import Domain

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
"""Exit statuses of a shell for a command that cannot be run."""
_FIRST_PARKED: Final = 64
_DOOR: Final = 200
"""The door's descriptor is the first free one from here on, where no shell puts its own."""


class CannotRun(Exception):
    """A program could not be started; the text says why and what to do.

    Attributes:
        status: what a shell would exit with.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Executable:
    """A program of the machine that runs as a child of this process of a domain.

    Args:
        argv: the program and its words.
        stdio: descriptors that become its 0, 1 and 2; they stay the caller's.
        env: what its environment has beside that of every program.
        terminal: which of 0, 1, 2 is to be its controlling terminal.
        directory: where it starts, where that is to be had; else /.
        ended: called from ``dispatch()`` with its status as a shell says it (128 + n after
            signal n).
        linger: what it leaves running keeps its nodes; see :attr:`lingers` and :meth:`close`.

    Raises: CannotRun: no such program, or no right to run it; OSError.
    """

    def __init__(
        self,
        dom: Domain,
        argv: Sequence[str],
        stdio: tuple[int, int, int],
        ended: Callable[[int], None],
        *,
        env: Mapping[str, str] | None = None,
        terminal: int | None = None,
        directory: str = "/",
        linger: bool = False,
    ) -> None:
        self._dom = dom
        self._ended = ended
        self._linger = linger
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            door = fcntl.fcntl(theirs, fcntl.F_DUPFD_CLOEXEC, _DOOR)
        variables = environment(dom, door, env or {})
        try:
            walled = not dom.spec.trusted
            counted = not walled or dom.spec.counted
            self.pid = start(argv, variables, stdio, (door,), terminal, directory, walled, counted)
        except BaseException:
            ours.close()
            raise
        finally:
            os.close(door)
        self._nodes = NodeServer(dom, ours, variables.get("XENSTORED_PATH"))
        self._waited_for = False
        self._pidfd = os.pidfd_open(self.pid)
        dom.vcpu.add_fd(self._pidfd, self._over)

    def signal(self, number: int) -> None:
        """Send a signal to the program's process group; it may have ended.

        A pidfd names one process.  The group's number is that of our own child, and nobody else's
        as long as we have not waited for it.
        """
        if not self._waited_for:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    @property
    def lingers(self) -> bool:
        """Whether something is left that the program started."""
        return self._nodes.open_door

    def close(self) -> None:
        """Nothing of it is left, or nothing may be: its nodes are closed.  Idempotent."""
        self._nodes.close()

    def _over(self) -> None:
        self._dom.vcpu.remove_fd(self._pidfd)
        os.close(self._pidfd)
        self._waited_for = True
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if not self._linger:
            self._nodes.close()
        self._ended(code if code >= 0 else 128 - code)


def environment(dom: Domain, door: int, more: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program in a domain; *more* comes last.

    ``HVSIM_DOOR`` is the descriptor through which the node library reaches its kernel,
    ``HVSIM_DOM0`` where it finds what the machine has in /var/lib/xen and the like.
    """
    values = {
        "PATH": PATH,
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "HOSTNAME": dom.spec.name,
        "XEN_DOMID": str(dom.domid),
        "HVSIM_DOOR": str(door),
    }
    if dom.spec.trusted:
        # A trusted program of the machine's owner: what he has, but for what is ours.
        values = {**os.environ, **values}
        values.pop("LD_PRELOAD", None)
        values["HOME"] = os.environ.get("HOME", "/root")
    store = store_socket(dom.spec)
    if store is not None:
        values["XENSTORED_PATH"] = store
        values["XENSTORED_RUNDIR"] = os.path.dirname(store)
    if dom.spec.place:
        values["HVSIM_DOM0"] = dom.spec.place
    library = node_library()
    if library is not None:
        values["LD_PRELOAD"] = str(library)
    return {**values, **more}


def store_socket(spec: Spawn) -> str | None:
    """Where a program of this process finds its domain's xenstored."""
    if not spec.store_socket:
        return None
    return spec.store_socket if spec.trusted else STORE_SOCKET


def start(
    argv: Sequence[str],
    env: Mapping[str, str],
    stdio: tuple[int, int, int],
    kept: Sequence[int],
    terminal: int | None = None,
    directory: str = "/",
    walled: bool = True,
    counted: bool = True,
) -> int:
    """Run *argv* in a child process and a session of its own; returns its pid.

    *walled*: it has fewer rights than we, who are its kernel; *counted*: a memory cgroup counts
    what it takes, in whatever way.  Raises: CannotRun; OSError.
    """
    uncounted = b"" if counted else seccomp.uncounted()

    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
        if pid == 0:
            _become(argv, env, stdio, kept, terminal, directory, walled, uncounted, writer)
        os.close(writer)
        writer = -1
        told = os.read(reader, 16)
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    if told:
        os.waitpid(pid, 0)
        raise _cannot_run(argv[0], int(told))
    return pid


def _cannot_run(program: str, number: int) -> CannotRun:
    """What an errno of ``execve(2)`` means to a person."""
    if number in (errno.ENOENT, errno.ENOTDIR):
        return CannotRun(NOT_FOUND, f"{program}: not found among this machine's programs ({PATH})")
    return CannotRun(NOT_EXECUTABLE, f"{program}: {os.strerror(number)}")


def _become(
    argv: Sequence[str],
    env: Mapping[str, str],
    stdio: tuple[int, int, int],
    kept: Sequence[int],
    terminal: int | None,
    directory: str,
    walled: bool,
    uncounted: bytes,
    report: int,
) -> NoReturn:
    """In the child: what must hold for the program, then the program."""
    number = errno.EIO
    try:
        if walled:
            capabilities.narrow(capabilities.PROGRAM)
        if uncounted:
            seccomp.load(uncounted)
        syscalls.set_death_signal(signal.SIGKILL)
        os.setsid()
        parked = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_PARKED) for fd in stdio]
        for target, source in enumerate(parked):
            os.dup2(source, target, inheritable=True)
        if terminal is not None:
            fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        descriptors.leave_to_program(kept)
        for which in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM):
            signal.signal(which, signal.SIG_DFL)
        os.umask(0o022)
        try:
            os.chdir(directory)
        except OSError:
            os.chdir("/")
        os.execvpe(argv[0], list(argv), dict(env))
    except OSError as error:
        number = error.errno or errno.EIO
    except BaseException:
        number = errno.EINVAL
    os.write(report, str(number).encode())
    os._exit(NOT_FOUND)
