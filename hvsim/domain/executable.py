"""Starting a program of the machine from a process of a domain, as a kernel starts init.

The program gets three descriptors that its parent was given, the environment in which Xen's own
programs find their domain, and, where the node library was built, Xen's device nodes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from hvsim.domain.sandbox import syscalls
from hvsim.domain.sandbox.root import STORE_SOCKET
from hvsim.native import node_library

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
"""Exit statuses of a shell for a command that cannot be run."""


class CannotRun(Exception):
    """A program could not be started; the text says why and what to do.

    Attributes:
        status: what a shell would exit with.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Door:
    """What a program's processes get hypercall connections of their own through.

    Attributes:
        connection: a hypercall connection of the domain, on which they only ask for their own.
        lock: a memfd whose first byte they lock meanwhile (fcntl(2), record locks).
    """

    connection: int
    lock: int

    @classmethod
    def over(cls, connection: int) -> Door:
        """A door over a connection.  Raises OSError."""
        return cls(connection, os.memfd_create("hvsim-door", os.MFD_CLOEXEC))


def environment(
    domid: int, name: str, store: str | None, door: Door | None, more: Mapping[str, str]
) -> dict[str, str]:
    """The environment of a program in a domain.

    Args:
        store: the socket of xenstored that is the domain's; None where there is none.
        more: what the user asked for; it comes last.
    """
    values = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "XEN_DOMID": str(domid)}
    values["HOSTNAME"] = name
    if store is not None:
        values["XENSTORED_PATH"] = store
        values["XENSTORED_RUNDIR"] = os.path.dirname(store)
    if door is not None:
        values["HVSIM_DOOR"] = str(door.connection)
        values["HVSIM_DOOR_LOCK"] = str(door.lock)
        library = node_library()
        if library is not None:
            values["LD_PRELOAD"] = str(library)
    return {**values, **more}


def store_socket(spec: Mapping[str, Any]) -> str | None:
    """Where a program of this process finds its domain's xenstored."""
    path = spec.get("store_socket")
    if not path:
        return None
    return str(path) if spec.get("profile") == "dom0" else STORE_SOCKET


def start(
    argv: Sequence[str],
    env: Mapping[str, str],
    stdio: tuple[int, int, int],
    *,
    kept: Sequence[int] = (),
    terminal: bool = False,
    directory: str = "/",
) -> int:
    """Run *argv* in a child process and a session of its own; returns its pid.

    Args:
        stdio: descriptors that become 0, 1 and 2.
        kept: further descriptors that it inherits under their numbers.
        terminal: descriptor 0 is to be its controlling terminal.
        directory: where it starts, where that is to be had; else /.

    Raises: CannotRun: no such program, no right to run it; OSError.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
        if pid == 0:
            _become(argv, env, stdio, kept, terminal, directory, writer)
        os.close(writer)
        writer = -1
        told = os.read(reader, 16)
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    if told:
        os.waitpid(pid, 0)
        raise cannot_run(argv[0], int(told))
    return pid


def cannot_run(program: str, number: int) -> CannotRun:
    """What an errno of ``execve(2)`` means to a person."""
    if number in (errno.ENOENT, errno.ENOTDIR):
        return CannotRun(
            NOT_FOUND, f"{program}: not found; a domain has the programs of this machine's {PATH}"
        )
    return CannotRun(NOT_EXECUTABLE, f"{program}: {os.strerror(number)}")


def _become(
    argv: Sequence[str],
    env: Mapping[str, str],
    stdio: tuple[int, int, int],
    kept: Sequence[int],
    terminal: bool,
    directory: str,
    report: int,
) -> NoReturn:
    """In the child: what must hold for the program, then the program."""
    number = errno.EIO
    try:
        syscalls.set_death_signal(signal.SIGKILL)
        os.setsid()
        parked = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in stdio]
        for target, source in enumerate(parked):
            os.dup2(source, target, inheritable=True)
        if terminal:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        for fd in kept:
            os.set_inheritable(fd, True)
        for which in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM):
            signal.signal(which, signal.SIG_DFL)
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
