"""What the hypervisor makes out of the Linux kernel: memfds, eventfds, a look at processes.

Together with ``server`` the only module that does I/O; this one makes, that one waits.
"""

import contextlib
import errno
import fcntl
import mmap
import os
import signal
import stat
import time
from typing import Final

from hvsim.abi.memory import PAGE_SIZE

F_SEAL_FUTURE_WRITE: Final = 0x10
"""No new writable mapping and no write(2); mappings that exist stay writable (Linux 5.1)."""
_BIRTH_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_WRITE_SEALS: Final = fcntl.F_SEAL_WRITE | F_SEAL_FUTURE_WRITE
_CPUCLOCK_SCHED: Final = 2
MAX_DESCENDANTS: Final = 4096
"""Processes below one that are looked at: more than its limits let a domain have."""


class SharedMemory:
    """A sparse memfd whose size is sealed at birth, so that no access to it can fault."""

    def __init__(self, name: str, nr_pages: int) -> None:
        self._size = nr_pages * PAGE_SIZE
        self._map: mmap.mmap | None = None
        self._view: memoryview | None = None
        self.fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.fd, self._size)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _BIRTH_SEALS)
        except BaseException:
            os.close(self.fd)
            raise

    def read(self, offset: int, length: int) -> bytes:
        """Copy bytes out."""
        return os.pread(self.fd, length, offset)

    def write(self, offset: int, data: bytes) -> None:
        """Copy bytes in; through the own mapping where the descriptor is sealed."""
        if self._view is not None:
            self._view[offset : offset + len(data)] = data
        else:
            os.pwrite(self.fd, data, offset)

    def view(self) -> memoryview:
        """The bytes, mapped here on first use."""
        if self._view is None:
            self._map = mmap.mmap(self.fd, self._size)
            self._view = memoryview(self._map)
        return self._view

    def seal(self, readonly: bool) -> bool:
        """Fix how it may be mapped from now on; see ``host.Memory``."""
        seals = fcntl.F_SEAL_SEAL
        if readonly:
            try:
                self.view()
            except OSError:
                return False
            seals |= F_SEAL_FUTURE_WRITE
        # Refused when its owner was faster, with seals of his own: then those there are decide.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, seals)
        there = fcntl.fcntl(self.fd, fcntl.F_GET_SEALS)
        if not there & fcntl.F_SEAL_SEAL:
            return False
        return bool(there & F_SEAL_FUTURE_WRITE) if readonly else not there & _WRITE_SEALS

    def close(self) -> None:
        """Empty it, for a peer may still hold a descriptor, and let go of it."""
        if self._view is not None and self._map is not None:
            # Sealed memory cannot be punched; zeros at least leave nothing to be read.
            if fcntl.fcntl(self.fd, fcntl.F_GET_SEALS) & _WRITE_SEALS:
                self._map[:] = bytes(self._size)
            self._view.release()
            self._map.close()
            self._view = self._map = None
        with contextlib.suppress(OSError):
            _punch(self.fd, self._size)
        os.close(self.fd)


def _punch(fd: int, size: int) -> None:
    """Free all pages of a memfd: MADV_REMOVE is a punched hole."""
    with mmap.mmap(fd, size) as whole:
        whole.madvise(mmap.MADV_REMOVE)


class OpenFile:
    """A file of the machine, for a domain."""

    def __init__(self, path: str, writable: bool) -> None:
        """Raises: OSError: it cannot be opened, or is neither a file nor a block device."""
        flags = os.O_RDWR if writable else os.O_RDONLY
        # Without waiting: a pipe of that name must not stop the machine.
        self.fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        mode = os.fstat(self.fd).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
            self.close()
            raise OSError(errno.EINVAL, "neither a file nor a block device", path)

    def close(self) -> None:
        """Let go of it; who was given the descriptor keeps that."""
        os.close(self.fd)
        self.fd = -1


class EventFd:
    """A doorbell."""

    __slots__ = ("fd",)

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def ring(self) -> None:
        """Make it readable; one whose counter stands at its maximum is emptied first."""
        try:
            os.eventfd_write(self.fd, 1)
        except BlockingIOError:
            self.drain()
            with contextlib.suppress(BlockingIOError):
                os.eventfd_write(self.fd, 1)

    def drain(self) -> int:
        """Take all rings off."""
        try:
            return os.eventfd_read(self.fd)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fd)


def cpu_time(pid: int) -> int | None:
    """Nanoseconds of CPU time of a process, from its CPU clock (clock_getcpuclockid(3))."""
    try:
        return time.clock_gettime_ns((~pid << 3) | _CPUCLOCK_SCHED)
    except OSError:
        return None


def run_on(pid: int, cpus: list[int]) -> None:
    """Let all threads of a process run on *cpus* only; one that is gone is no error."""
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                os.sched_setaffinity(int(thread), cpus)


def is_running(pid: int) -> bool:
    """Whether a process is on a CPU or waits for one (state R in proc(5))."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1] == b"R"
    except OSError:
        return False


def is_stopped(pid: int) -> bool:
    """Whether no thread of a process runs any more: all are stopped or gone (T, t, Z, X in
    proc(5)). SIGSTOP reaches them one after the other."""
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/stat", "rb") as file:
                if file.read().rpartition(b") ")[2][:1] not in b"TtZX":
                    return False
    except OSError:
        # It, or a thread of it, has gone; what is left of it is looked at once more.
        return not os.path.exists(f"/proc/{pid}")
    return True


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have (proc(5), children).

    Empty where the kernel does not tell (CONFIG_PROC_CHILDREN).
    """
    found: list[int] = []
    waiting = [pid]
    while waiting and len(found) < MAX_DESCENDANTS:
        parent = waiting.pop()
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{thread}/children", "rb") as file:
                    children = [int(word) for word in file.read().split()]
                found += children
                waiting += children
    return found


def signal_descendants(pid: int, number: int) -> None:
    """Send a signal to everything below a process; again while something new appears, as a
    process that is not stopped yet may fork."""
    told: set[int] = set()
    while fresh := set(descendants(pid)) - told:
        for child in fresh:
            with contextlib.suppress(OSError):
                pidfd = os.pidfd_open(child)
                try:
                    signal.pidfd_send_signal(pidfd, number)
                finally:
                    os.close(pidfd)
        told |= fresh


def raise_descriptor_limit() -> None:
    """As many descriptors as the machine allows: every extent and port of a lab costs some."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
