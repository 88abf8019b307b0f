"""Children in namespaces of their own, by one raw ``clone(2)``.

``fork`` followed by ``unshare`` would need a second fork for the pid namespace; ``clone``
does all at once (measured: 0.5 to 1.4 ms, as root and as an ordinary user).  The price is
that CPython has to be told what happened, through the public ``PyOS_BeforeFork`` family.

What each namespace is for stands in the table of :mod:`hvsim.spawn.sandbox`.
"""

import ctypes
import errno
import os
import signal
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

from hvsim import shortage
from hvsim.linux import syscalls

CLONE_PARENT: Final = 0x0000_8000
CLONE_CHILD_CLEARTID: Final = 0x0020_0000
CLONE_CHILD_SETTID: Final = 0x0100_0000

#: Name in the ``missing`` report -> clone flag (linux/sched.h).  The user namespace comes
#: first: without it an ordinary user gets none of the others.
FLAGS: Final[dict[str, int]] = {
    "user-ns": 0x1000_0000,
    "pid-ns": 0x2000_0000,
    "ipc-ns": 0x0800_0000,
    "mount-ns": 0x0002_0000,
    "net-ns": 0x4000_0000,
}

# Refusals that say "not here" (cached) or "no more of them" (asked again next time). Every
# other errno (EAGAIN, ENOMEM) is a failure of clone itself and goes to the caller.
_NEVER: Final = frozenset({errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.EACCES})
_NOT_NOW: Final = frozenset({errno.ENOSPC, errno.EUSERS})

_api = ctypes.pythonapi
for _hook in ("PyOS_BeforeFork", "PyOS_AfterFork_Child", "PyOS_AfterFork_Parent"):
    getattr(_api, _hook).restype = None
    getattr(_api, _hook).argtypes = ()


def _tid_address() -> int:
    """Address of glibc's cached thread id, or 0 where the kernel does not tell.

    glibc's own fork hands it to the kernel, so that the child's C library knows its new
    id; a raw clone has to do the same.
    """
    slot = ctypes.c_long(0)
    try:
        syscalls.prctl(syscalls.PR_GET_TID_ADDRESS, ctypes.addressof(slot))
    except OSError:
        return 0
    return slot.value


def raw_clone(flags: int) -> int:
    """Fork with namespace flags.  Returns the child's pid, and 0 in the child.

    The caller must be the only thread of its process.

    Raises:
        OSError: as ``clone(2)``; nothing was created then.
    """
    tid_address = _tid_address()
    if tid_address:
        flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID
    # ptid, ctid and tls are (ptid, ctid, tls) on x86_64 and (ptid, tls, ctid) on aarch64.
    tail = (tid_address, 0) if syscalls.MACHINE == "x86_64" else (0, tid_address)
    _api.PyOS_BeforeFork()
    pid = -1
    try:
        pid = syscalls.syscall("clone", flags | signal.SIGCHLD, 0, 0, *tail)
    finally:
        if pid == 0:
            _api.PyOS_AfterFork_Child()
        else:
            _api.PyOS_AfterFork_Parent()
    return pid


def join(pidfd: int, names: Iterable[str]) -> None:
    """Enter namespaces (names of :data:`FLAGS`) of the process behind a pidfd.

    The process namespace is that of children made from now on.

    Raises:
        OSError: the process has gone (ESRCH), or the kernel refused.
    """
    flags = _flags(names)
    if flags:
        syscalls.syscall("setns", pidfd, flags)


def clone_into(pidfd: int, names: Collection[str]) -> int:
    """A child of this process in the namespaces of the process behind a pidfd, with a mount
    namespace of its own.  Returns its pid, and 0 in the child.

    A process namespace is entered only by being born into it.  So a first child goes there and
    makes a sibling of itself (CLONE_PARENT), whose pid it tells, and ends.

    Raises:
        OSError: as ``setns(2)`` and ``clone(2)``; nothing was created then.
    """
    entered = [name for name in names if name != "mount-ns"]
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        guide = os.fork()
        if guide == 0:
            try:
                join(pidfd, entered)
                flags = CLONE_PARENT | (FLAGS["mount-ns"] if "mount-ns" in names else 0)
                pid = raw_clone(flags)
                if pid == 0:
                    return 0
            except OSError as error:
                pid = -(error.errno or errno.EIO)
            os.write(writer, str(pid).encode())
            os._exit(0)
        os.close(writer)
        writer = -1
        told = os.read(reader, 16)
        os.waitpid(guide, 0)
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    pid = int(told) if told else -errno.ECHILD
    if pid < 0:
        raise OSError(-pid, f"joining the domain's namespaces: {os.strerror(-pid)}")
    return pid


def host_pid(proc: int, pidfd: int) -> int:
    """The number of the process behind a pidfd, as it is in the /proc that *proc* is open on.

    Raises:
        OSError: ESRCH: it has ended.
    """
    fd = os.open(f"self/fdinfo/{pidfd}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    try:
        text = os.read(fd, 4096)
    finally:
        os.close(fd)
    for line in text.splitlines():
        key, _, value = line.partition(b":")
        if key == b"Pid" and int(value) > 0:
            return int(value)
    raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))


@dataclass(frozen=True)
class Cloned:
    """What :meth:`Cloner.clone` did: the pid (0 in the child) and what it had to leave out."""

    pid: int
    missing: tuple[str, ...]


class Cloner:
    """Clones with as many of the wanted namespaces as the machine allows.

    Args:
        clone: :func:`raw_clone`, or a substitute with the same meaning for tests.
        discard: what a probing child does at once; it must not return.
        reap: waits for a probing child.
    """

    def __init__(
        self,
        clone: Callable[[int], int] = raw_clone,
        discard: Callable[[int], object] = os._exit,
        reap: Callable[[int, int], object] = os.waitpid,
    ) -> None:
        self._clone = clone
        self._discard = discard
        self._reap = reap
        self._never: dict[str, str] = {}

    def clone(self, wanted: Iterable[str]) -> Cloned:
        """Make a child in the wanted namespaces (names of :data:`FLAGS`).

        Where the whole set is refused, the largest set that works is found step by step,
        user namespace first; ``missing`` names what was left out and why.

        Raises:
            OSError: not even a plain child can be made.
        """
        names = [name for name in FLAGS if name in set(wanted)]
        missing = [f"{name}: {self._never[name]}" for name in names if name in self._never]
        usable = [name for name in names if name not in self._never]
        try:
            return Cloned(self._clone(_flags(usable)), tuple(missing))
        except OSError as error:
            if error.errno not in _NEVER | _NOT_NOW or not usable:
                raise
        granted: list[str] = []
        for name in usable:
            refusal = self._probe([*granted, name])
            if refusal is None:
                granted.append(name)
                continue
            reason = shortage.no_namespace([name], OSError(refusal, os.strerror(refusal)))
            missing.append(f"{name}: {reason}")
            if refusal in _NEVER:
                self._never[name] = reason
        return Cloned(self._clone(_flags(granted)), tuple(missing))

    def _probe(self, names: list[str]) -> int | None:
        """Try a set with a child that ends at once: None when it works, else the errno."""
        try:
            pid = self._clone(_flags(names))
        except OSError as error:
            if error.errno not in _NEVER | _NOT_NOW:
                raise
            return error.errno
        if pid == 0:
            self._discard(0)
        self._reap(pid, 0)
        return None


def own_network() -> None:
    """Move this process, a trusted one without walls, into a network namespace of its own.

    Root makes one without further ado; anybody else within a user namespace, in which this process
    still opens what it could open before.  It must have one thread.

    Raises:
        OSError: the machine allows neither.
    """
    flags = FLAGS["net-ns"] | (FLAGS["user-ns"] if os.geteuid() else 0)
    syscalls.syscall("unshare", flags)
    syscalls.set_death_signal(signal.SIGKILL)


def _flags(names: Iterable[str]) -> int:
    total = 0
    for name in names:
        total |= FLAGS[name]
    return total
