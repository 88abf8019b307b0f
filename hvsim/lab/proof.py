"""Whether a process is a lab's: its hypervisor holds the lab's lock, all others carry its mark."""

import fcntl
import os
import struct
from pathlib import Path
from typing import Final

_FLOCK: Final = struct.Struct("@hhqqi4x")
"""struct flock (fcntl(2)): type, whence, start, length, pid."""
MARK: Final = "HVSIM_LAB_MARK"
"""The variable that holds a lab's mark."""


def lock(path: Path) -> int:
    """A descriptor of the lock file of a hypervisor to be, which takes the lock itself.

    Raises: OSError.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def holder(path: Path) -> int:
    """The process that holds the lock of a lock file, as the kernel knows it; 0 when none does.

    A process lets go of its lock only by its end, so this is the lab's hypervisor, whatever a
    record says.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, asked))
    except OSError:
        return 0
    finally:
        os.close(fd)
    return 0 if kind == fcntl.F_UNLCK else int(pid)


def carries(pid: int, mark: str) -> bool:
    """Whether a process was started with the mark of a lab in its environment, which all of a
    lab's processes inherit from its hypervisor (proc(5), /proc/PID/environ)."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={mark}".encode() in environment.split(b"\0")
