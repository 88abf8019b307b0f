"""System calls that take memory, or a share of what a user or the machine has, uncounted.

``setrlimit(2)`` bounds the address space (shared memory included, as long as it is mapped),
descriptors, processes and timers of a process.  Beside these there are

* memory without an address: pipes, queues of sockets, rings of packet sockets, memfds, System V
  segments;
* what the kernel counts for all processes of a user or of the machine together, so that one of them
  can leave nothing for the others: watches of epoll(7), pages of pipes, descriptors on their way
  over Unix sockets, requests of io_submit(2);
* what it does not count at all: locks on ranges of files.

A guest or a driver waits in one epoll set that it is born with, talks through descriptors that it
was given, and needs none of that.  Programs of the machine do: most of it is bounded for them by a
memory cgroup where one can be had, and the rest is refused.
"""

import errno
from typing import Final

from hvsim.spawn.sandbox.bpf import Arg, Deny

_MAP_HUGETLB: Final = 0x40000
_SOL_PACKET: Final = 263
_PACKET_RINGS: Final = (5, 13)  # PACKET_RX_RING, PACKET_TX_RING
_F_DUPFD: Final = (0, 1030)  # and F_DUPFD_CLOEXEC
_F_SETLEASE: Final = 1024
_F_LOCKS: Final = (6, 7)  # F_SETLK, F_SETLKW
_F_OFD_LOCKS: Final = (37, 38)  # F_OFD_SETLK, F_OFD_SETLKW
SEGMENT_MAX: Final = 4096
"""Bytes of a System V segment where nothing counts them; there may be 4096 (ipc(5), shmmni)."""
SEMAPHORES_MAX: Final = 32
"""Semaphores in a set; there may be 32000 sets of 64 bytes for each (semmni)."""

_NEEDLESS: Final = (
    # A file has one number, and there is one epoll set: so watches are no more than open files.
    *("epoll_create", "epoll_create1", "dup", "dup2", "dup3"),
    # Buffers, and descriptors on their way. Hypercalls are sent and received plainly.
    *("pipe", "pipe2", "socketpair", "sendmsg", "sendmmsg"),
    "io_setup",
)


def _everywhere() -> list[Deny]:
    """For everybody: nothing bounds it, and nobody needs it."""
    eperm = errno.EPERM
    rules = [
        Deny("mmap", eperm, (Arg(3, "!=", 0, mask=_MAP_HUGETLB),)),  # of a pool of the machine
        # Others that open the file wait for a lease to be given up, 45 s long.
        Deny("fcntl", eperm, (Arg(1, "==", _F_SETLEASE),)),
    ]
    for ring in _PACKET_RINGS:
        rules.append(Deny("setsockopt", eperm, (Arg(1, "==", _SOL_PACKET), Arg(2, "==", ring))))
    return rules


def for_domains(locks: bool) -> list[Deny]:
    """For a guest, or a driver (*locks*: it locks ranges of its images)."""
    eperm = errno.EPERM
    rules = [Deny(name, eperm) for name in _NEEDLESS]
    commands = [*_F_DUPFD, *_F_LOCKS, *(() if locks else _F_OFD_LOCKS)]
    rules += [Deny("fcntl", eperm, (Arg(1, "==", command),)) for command in commands]
    return rules + _everywhere()


def for_kernels() -> list[Deny]:
    """For a process that is the kernel of programs of the machine, and for those."""
    # ENOSYS: as on a kernel without it, for which there are other ways.
    return [Deny("io_setup", errno.ENOSYS), *_everywhere()]


def for_programs() -> list[Deny]:
    """For programs of the machine where no memory cgroup counts what they take."""
    return [
        Deny("memfd_create", errno.ENOSYS),
        Deny("msgget", errno.ENOSYS),
        Deny("shmget", errno.ENOSPC, (Arg(1, ">", SEGMENT_MAX),)),
        Deny("shmget", errno.ENOSPC, (Arg(1, "!=", 0, high=True),)),
        Deny("semget", errno.ENOSPC, (Arg(1, ">", SEMAPHORES_MAX),)),
    ]
