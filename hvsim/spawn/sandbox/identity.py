"""Who a domain's process is: a user id of its own on the machine, and root of its own namespace.

In a lab that root runs, a domain must not be root.  It gets an id that nobody has: a high base
plus the number of its first process.  So the id is its own as long as it lives, without a list of
those given away; two domains are strangers to each other; and what the kernel counts for a user
(processes, inotify watches, descriptors in flight) it counts for each domain.

An ordinary user can be nobody but himself: his domains keep his id, and what keeps them from his
files is the root directory of their own.

Sources: user_namespaces(7), capabilities(7).
"""

import os

from hvsim.linux import syscalls
from hvsim.spawn.sandbox import capabilities
from hvsim.wire.peer import DOMAINS


def own_id(pid: int) -> int:
    """The user and group id of the domain whose first process has this number."""
    return DOMAINS + pid


def become(number: int) -> None:
    """Give up root's ids for *number*, and keep the capabilities for what is still to be done.

    Raises:
        OSError: EINVAL: the ids of this machine (a container's) do not go that far.
    """
    os.setgroups(())
    syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
    os.setresgid(number, number, number)
    os.setresuid(number, number, number)
    syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 0)
    capabilities.raise_all()
    # The kernel has shut /proc/self to a process that was somebody else; its id map is there.
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)


def map_as_root(proc: int, process: str, uid: int, gid: int) -> None:
    """Make id 0 in a user namespace mean *uid* and *gid* outside.

    Without a map a program has no rights even over its own namespaces, as ``execve`` takes the
    capabilities of whoever is not root (user_namespaces(7)).

    Args:
        proc: descriptor of a /proc.
        process: whose namespace: "self", or a number in that /proc.

    Raises:
        OSError: the kernel refused the map.
    """
    write_map(proc, process, f"0 {uid} 1", f"0 {gid} 1")


def write_map(proc: int, process: str, users: str, groups: str) -> None:
    """Write both maps of a user namespace: "inside outside count" (user_namespaces(7))."""
    for name, text in (("setgroups", "deny"), ("uid_map", users), ("gid_map", groups)):
        fd = os.open(f"{process}/{name}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
