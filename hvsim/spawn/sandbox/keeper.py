"""Process 1 of the namespace that a domain's programs live in.

Programs must not see the process that is their kernel: whom a process cannot name it can neither
trace, nor signal, nor rob of descriptors.  So they are in a process namespace below their kernel's,
and that needs a process 1 of its own, which takes in orphans.  This one has nothing: no descriptor,
no right, and no signal from its own namespace reaches it (pid_namespaces(7)).  It ends with the
namespace around it, which is that of the domain.
"""

import contextlib
import os
import signal
import socket
from collections.abc import Callable
from typing import Final, NoReturn

from hvsim.linux import syscalls
from hvsim.spawn.sandbox import capabilities
from hvsim.spawn.sandbox.namespaces import FLAGS, join
from hvsim.wire import rights

_NAMESPACE: Final = "self/ns/pid_for_children"


def start(own: int | None, first: Callable[[], None]) -> OSError | None:
    """From now on the children of this process are born into a namespace below its own; make the
    first of them.

    Args:
        own: the domain's id, when it is not this process's.
        first: what has to be done within that namespace; the error that it ends in is returned.

    Raises: OSError: there can be no such namespace.
    """
    syscalls.syscall("unshare", FLAGS["pid-ns"])

    def then() -> None:
        _give_up_rights(own)
        keep()

    return _within(first, then)


def enter(below: int, first: Callable[[], None]) -> OSError | None:
    """From now on the children of this process are born into a namespace that is there already.

    Args:
        below: a descriptor of it.
        first: as for :func:`start`.

    Raises: OSError.
    """
    syscalls.syscall("setns", below, FLAGS["pid-ns"])
    return _within(first, lambda: os._exit(0), wait=True)


def _within(
    first: Callable[[], None], then: Callable[[], object], wait: bool = False
) -> OSError | None:
    """In a child do *first*, tell how it ended, and go on with *then*."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
        if pid == 0:
            number = 0
            try:
                first()
            except OSError as error:
                number = error.errno or 1
            try:
                os.write(writer, str(number).encode())
                then()
            finally:
                os._exit(1)
        os.close(writer)
        writer = -1
        told = int(os.read(reader, 16) or b"3")  # ESRCH: it died
        if wait:
            os.waitpid(pid, 0)
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    return OSError(told, os.strerror(told)) if told else None


def keep() -> NoReturn:
    """Be it."""
    try:
        os.closerange(0, 2**31 - 2)
        syscalls.set_name("init")
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody becomes a zombie
        while True:
            signal.pause()
    finally:
        os._exit(1)


def _give_up_rights(own: int | None) -> None:
    if own is not None:
        os.setgroups(())
        os.setresgid(own, own, own)
        os.setresuid(own, own, own)
    capabilities.drop()
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)


def namespace_of(proc: int, process: int) -> int | None:
    """A descriptor of the namespace that a process's children are born into, when it is not the
    process's own; None when it is.

    Args:
        proc: descriptor of the machine's /proc, in which *process* is a number.

    Raises: OSError: the process has gone.
    """
    own = os.stat(f"{process}/ns/pid", dir_fd=proc)
    path = f"{process}/ns/pid_for_children"
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    if os.path.samestat(os.fstat(fd), own):
        os.close(fd)
        return None
    return fd


def start_below(proc: int, pidfd: int, own: int | None) -> int:
    """Make a keeper below the process behind *pidfd*, a domain that runs no programs itself.

    Returns a descriptor of the keeper's namespace.  Raises: OSError.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        guide = os.fork()
        if guide == 0:
            ours.close()
            _guide(proc, pidfd, own, theirs)
        theirs.close()
        _, fds = rights.receive(ours, 16, 1)
        os.waitpid(guide, 0)
    if len(fds) != 1:
        raise ProcessLookupError("the domain ended, or allows no process namespace below it")
    return fds[0]


def _guide(proc: int, pidfd: int, own: int | None, told: socket.socket) -> NoReturn:
    """Its child is born into the domain's namespace, makes the keeper there, and ends: so the
    keeper becomes a child of the domain's process, as if that had made it."""
    with contextlib.suppress(OSError):
        join(pidfd, ("pid-ns",))
        middleman = os.fork()
        if middleman == 0:
            with contextlib.suppress(OSError):
                # What it shows of its mounts is what the domain sees.
                if start(own, lambda: join(pidfd, ("mount-ns",))) is None:
                    fd = os.open(_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
                    rights.send(told, [b"."], [fd])
            os._exit(0)
        os.waitpid(middleman, 0)
    os._exit(0)
