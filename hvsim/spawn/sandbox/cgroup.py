"""Entering the cgroups that the hypervisor has made for a domain (cgroups(7)).

They count what no limit does: kernel memory of sockets, links and locks, memfds, and all processes
of a domain together.  A process enters them itself, before its walls hide the files.
"""

import os
from collections.abc import Sequence
from typing import Final

KERNEL_MEMORY: Final = "kernel-memory"
"""Under WALLS: what a process that has more than its own memory may make the kernel hold (buffers
of sockets, links and routes of its network, locks on files) is bounded by nothing."""
WHY: Final = "no memory cgroup can be made here"


def enter(files: Sequence[str]) -> str:
    """Move this process into the cgroups of *files* (each a ``cgroup.procs``); "" or why not."""
    if not files:
        return WHY
    try:
        for path in files:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.write(fd, b"0")
            finally:
                os.close(fd)
    except OSError as error:
        return f"{error.filename or files[0]}: {error.strerror}"
    return ""
