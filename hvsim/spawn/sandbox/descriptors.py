"""What descriptors a domain process holds at birth: its own five, at fixed numbers; and what one
that starts a program lets it have."""

import contextlib
import fcntl
import os
from collections.abc import Iterable
from typing import Final

from hvsim.linux import syscalls
from hvsim.wire.descriptors import FIRST_FREE_FD

#: Descriptors are parked above this number while the low ones are put in place.
_PARKING: Final = 64
_MAX_FD: Final = 2**31 - 2
_CLOSE_RANGE_CLOEXEC: Final = 4
_LAST: Final = 0xFFFF_FFFF

_OPEN_LOG: Final = (
    os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
)


def open_stdout(path: str | None) -> int:
    """Open the log file of a domain, or ``/dev/null`` without one.

    ``O_NOFOLLOW`` because a log directory may be shared; ``O_NONBLOCK`` because nobody is
    to hang in the opening of a FIFO (it has no effect on a regular file).

    Raises:
        OSError: the file cannot be opened for appending.
    """
    if path is None:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    return os.open(path, _OPEN_LOG, 0o600)


def arrange(conn_fd: int, upcall_fd: int, stdout_fd: int, kept: tuple[int, ...] = ()) -> list[int]:
    """Put the domain's descriptors in place and close all others.

    0 is ``/dev/null``, 1 and 2 are ``stdout_fd``, 3 the hypercall connection, 4 the upcall
    eventfd; ``kept`` follow from 5 on.  The sources may have any numbers, these included.

    Returns:
        The new numbers of ``kept``.

    Raises:
        OSError: a descriptor is not open, or none can be had.
    """
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    sources = (null, stdout_fd, stdout_fd, conn_fd, upcall_fd, *kept)
    parked = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _PARKING) for fd in sources]
    for target, source in enumerate(parked):
        os.dup2(source, target, inheritable=target <= 2)
    os.closerange(len(parked), _MAX_FD)
    return list(range(FIRST_FREE_FD, len(parked)))


def leave_to_program(kept: Iterable[int]) -> None:
    """Before ``execve``: the program gets 0, 1, 2 and *kept*, whatever flags the others have.

    Everything here is close-on-exec from its birth, so this should change nothing; a library's
    mistake must not be a hole in a domain's walls.  Source: close_range(2).

    Raises: OSError.
    """
    try:
        syscalls.syscall("close_range", 3, _LAST, _CLOSE_RANGE_CLOEXEC)
    except OSError:  # before Linux 5.11
        for fd in map(int, os.listdir("/proc/self/fd")):
            if fd > 2:
                with contextlib.suppress(OSError):  # that of the listing itself is closed by now
                    fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    for fd in kept:
        os.set_inheritable(fd, True)
