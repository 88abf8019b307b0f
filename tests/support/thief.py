"""Takes the descriptors of other processes and does to them whatever a holder may.

For who may trace them: the owner of a lab, or root.
"""

import contextlib
import errno
import fcntl
import os
import random
import signal
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cmp_to_key

from hvsim.hypervisor.kernel import F_SEAL_FUTURE_WRITE
from hvsim.linux.syscalls import syscall
from hvsim.wire.doorbell import FULL

FLAGS = (os.O_NONBLOCK, os.O_ASYNC, os.O_APPEND, os.O_DIRECT, os.O_NOATIME)
_F_SETSIG, _F_SETLEASE, _F_NOTIFY = 10, 1024, 1026
_KCMP_FILE = 0


@dataclass
class Stolen:
    """An open file.  *held*: the processes that it was found in; *kind*: what it is."""

    fd: int
    kind: str
    held: set[int]

    @property
    def bell(self) -> bool:
        return self.kind == "anon_inode:[eventfd]"


def steal(pids: Iterable[int]) -> list[Stolen]:
    """One descriptor of every open file of some processes.

    Raises: PermissionError: this machine does not let us.
    """
    found: list[Stolen] = []
    try:
        for pid in pids:
            found += _of_one(pid)
    except BaseException:
        give_back(found)  # a pipe that we held would never end for its reader
        raise
    return _one_of_each(found)


def _of_one(pid: int) -> list[Stolen]:
    found: list[Stolen] = []
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return found
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                kind = os.readlink(f"/proc/{pid}/fd/{name}")
                found.append(Stolen(_take(pidfd, int(name)), kind, {pid}))
    except BaseException:
        give_back(found)
        raise
    finally:
        os.close(pidfd)
    return found


def _take(pidfd: int, number: int) -> int:
    try:
        return syscall("pidfd_getfd", pidfd, number, 0)
    except OSError as error:
        if error.errno == errno.EBADF:  # closed meanwhile
            raise FileNotFoundError from None
        raise


def _one_of_each(found: list[Stolen]) -> list[Stolen]:
    me = os.getpid()

    def order(one: Stolen, other: Stolen) -> int:
        return (0, -1, 1)[syscall("kcmp", me, me, _KCMP_FILE, one.fd, other.fd)]

    kept: list[Stolen] = []
    for one in sorted(found, key=cmp_to_key(order)):
        if kept and not order(kept[-1], one):
            kept[-1].held |= one.held
            os.close(one.fd)
        else:
            kept.append(one)
    return kept


def tamper(stolen: Iterable[Stolen], dice: random.Random) -> None:
    """Change every flag of each, who is signalled, and by what; locks; how long a socket waits;
    and the counts of bells.

    Signals go to this process, which ignores those chosen.  Leases are asked for memory alone:
    on a file of the disk the walls of every domain refuse them, since others would wait 45 s to
    open it.
    """
    numbers = (signal.SIGIO, signal.SIGURG, signal.SIGRTMIN + 3)
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
    for one in stolen:
        flags = sum(flag for flag in FLAGS if dice.random() < 0.5)
        commands = [
            (fcntl.F_SETOWN, os.getpid()),
            (_F_SETSIG, dice.choice(numbers)),
            (_F_NOTIFY, 0x3F),
            (fcntl.F_SETFL, flags),
        ]
        if one.kind.startswith("/memfd:"):
            lease = dice.choice((fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK))
            commands.append((_F_SETLEASE, lease))
        for command, value in commands:
            with contextlib.suppress(OSError):
                fcntl.fcntl(one.fd, command, value)
        with contextlib.suppress(OSError):
            fcntl.flock(one.fd, dice.choice((fcntl.LOCK_EX, fcntl.LOCK_UN)) | fcntl.LOCK_NB)
        if one.kind.startswith("socket:"):
            _hurry(one, dice)
        if one.bell:
            if dice.random() < 0.5:
                fill(one)
            ring(one)


def _hurry(one: Stolen, dice: random.Random) -> None:
    """A wait of a socket ends after a microsecond, or never."""
    soon = struct.pack("@qq", 0, dice.choice((0, 1)))
    with socket.socket(fileno=os.dup(one.fd)) as taken:
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            with contextlib.suppress(OSError):
                taken.setsockopt(socket.SOL_SOCKET, option, soon)


def seal(stolen: Iterable[Stolen]) -> None:
    """Put every seal on all memory that takes it."""
    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | F_SEAL_FUTURE_WRITE | fcntl.F_SEAL_SEAL
    for one in stolen:
        if one.kind.startswith("/memfd:"):
            with contextlib.suppress(OSError):
                fcntl.fcntl(one.fd, fcntl.F_ADD_SEALS, seals)


def worst(stolen: Iterable[Stolen]) -> None:
    """Everything waits, every bell is as full as it can be."""
    for one in stolen:
        with contextlib.suppress(OSError):
            fcntl.fcntl(one.fd, fcntl.F_SETFL, 0)
        if one.bell:
            fill(one)
            ring(one)


def fill(bell: Stolen) -> None:
    """By as much as there is room for, without waiting.

    A ring that nobody has heard yet is lost with it.  Whoever holds a bell beside its listener is
    who rings it, and loses what is his own; this thief is neither, so he rings it after that.
    """
    flags = fcntl.fcntl(bell.fd, fcntl.F_GETFL)
    fcntl.fcntl(bell.fd, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    step = FULL
    while step:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(bell.fd, step)
        step //= 2
    fcntl.fcntl(bell.fd, fcntl.F_SETFL, flags & ~os.O_NONBLOCK)


def ring(bell: Stolen) -> None:
    """Without waiting."""
    flags = fcntl.fcntl(bell.fd, fcntl.F_GETFL)
    fcntl.fcntl(bell.fd, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        os.read(bell.fd, 8)
    fcntl.fcntl(bell.fd, fcntl.F_SETFL, flags & ~os.O_NONBLOCK)


def give_back(stolen: Iterable[Stolen]) -> None:
    """Close them."""
    for one in stolen:
        os.close(one.fd)
