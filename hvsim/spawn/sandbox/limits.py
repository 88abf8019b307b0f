"""Resource limits of a domain process, as data and as one call.

The hypervisor accounts a domain's frames, which are memfds; what a process has beside them is
bounded here.  RLIMIT_DATA alone does not do that: private memory that was filled and then made
read-only is not counted, nor is what is shared.  So the whole address space is bounded: what the
interpreter and its libraries take at birth, the domain's RAM once for what it maps of its own
frames and once for private memory, and a fixed room.  System calls that make memory which no
address shows are refused (``resources``).
"""

import errno
import os
import resource
from dataclasses import dataclass
from typing import Final

from hvsim.abi.memory import PAGE_SIZE
from hvsim.spawn.sandbox.seccomp import Profile

_MIB: Final = 1 << 20
GUEST_ROOM: Final = 128 * _MIB
"""What a guest may have beside its RAM: libraries that it loads, the heap of its program."""
DRIVER_ROOM: Final = 512 * _MIB
"""The same for a driver domain, with the stacks of its threads."""
PEERS_ROOM: Final = 4096 * _MIB
"""What a driver domain may have mapped of its peers, whose memory it is."""
PROGRAM_ROOM: Final = 4096 * _MIB
"""The address space of each program of the machine, where no memory cgroup counts them all."""
PROGRAMS: Final = 512
"""Processes and threads of a domain that runs programs of the machine."""
THREADS: Final = 16
"""Threads of a driver domain."""
SHARED_FILES: Final = 768
"""Descriptors of each process of a user who has others: what is on its way over Unix sockets counts
for all processes of a user together, and with one message more than this stays below the 1024 at
which those others could send no more."""

_PLAIN: Final[dict[int, int]] = {
    resource.RLIMIT_CORE: 0,  # a core file would hold what peers granted
    resource.RLIMIT_MSGQUEUE: 0,
    resource.RLIMIT_MEMLOCK: _MIB,
    resource.RLIMIT_SIGPENDING: 128,  # signals that wait, and timers of timer_create(2)
}
_LOG_SIZE: Final = 64 * _MIB


@dataclass(frozen=True)
class Budget:
    """What a process is given, and what its limits depend on.

    Attributes:
        pages: the domain's RAM.
        writes_files: it was given files to write, whose size nobody bounds.
        own_user: what the kernel counts for a user in a user namespace (processes, timers, signals)
            it counts for this domain alone.
        own_uid: what it counts for a user id (descriptors on their way) as well.
        counted: a memory cgroup counts whatever it takes.
    """

    profile: Profile
    pages: int = 0
    writes_files: bool = False
    own_user: bool = False
    own_uid: bool = False
    counted: bool = False


@dataclass(frozen=True)
class Born:
    """What a process has before anything of a domain runs, in bytes: its address space, and the
    private writable part of it (proc(5), statm)."""

    size: int = 0
    data: int = 0


def born(proc: int | None = None) -> Born:
    """Measure this process; *proc* is a descriptor of a /proc.  Raises OSError."""
    fd = os.open("self/statm" if proc is not None else "/proc/self/statm", os.O_RDONLY, dir_fd=proc)
    try:
        words = os.read(fd, 256).split()
    finally:
        os.close(fd)
    return Born(int(words[0]) * PAGE_SIZE, int(words[5]) * PAGE_SIZE)


def limits(budget: Budget, at_birth: Born) -> dict[int, int]:
    """``RLIMIT_*`` -> value.  Units are those of ``setrlimit(2)``."""
    ram = budget.pages * PAGE_SIZE
    chosen = dict(_PLAIN)
    if budget.profile == "guest":
        chosen[resource.RLIMIT_NOFILE] = 1024
        chosen[resource.RLIMIT_NPROC] = 1
        chosen[resource.RLIMIT_AS] = at_birth.size + 2 * ram + GUEST_ROOM
        chosen[resource.RLIMIT_DATA] = at_birth.data + ram + GUEST_ROOM
        if not budget.writes_files:
            chosen[resource.RLIMIT_FSIZE] = _LOG_SIZE
    elif budget.profile == "driver":
        chosen[resource.RLIMIT_NOFILE] = 16384
        chosen[resource.RLIMIT_AS] = at_birth.size + 2 * ram + DRIVER_ROOM + PEERS_ROOM
        chosen[resource.RLIMIT_DATA] = at_birth.data + ram + DRIVER_ROOM
        if budget.own_user:
            chosen[resource.RLIMIT_NPROC] = THREADS
        if not budget.writes_files:
            chosen[resource.RLIMIT_FSIZE] = _LOG_SIZE
    else:
        chosen[resource.RLIMIT_NOFILE] = 4096 if budget.own_uid else SHARED_FILES
        chosen[resource.RLIMIT_SIGPENDING] = 4096
        if budget.own_user:
            chosen[resource.RLIMIT_NPROC] = PROGRAMS
        if not budget.counted:
            chosen[resource.RLIMIT_AS] = at_birth.size + 2 * ram + PROGRAM_ROOM
    return chosen


def apply(budget: Budget, at_birth: Born) -> list[str]:
    """Set soft and hard limits; never above the hard limit that we were born with.

    Returns:
        What could not be set, in the words of the ``missing`` report.
    """
    missing = []
    for which, value in limits(budget, at_birth).items():
        hard = resource.getrlimit(which)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        try:
            resource.setrlimit(which, (value, value))
        except (OSError, ValueError) as error:
            code = error.errno if isinstance(error, OSError) else errno.EINVAL
            missing.append(f"rlimit-{which}: {errno.errorcode.get(code or 0, str(code))}")
    return missing
