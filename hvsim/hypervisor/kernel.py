"""What the hypervisor makes out of the Linux kernel: memfds and doorbells.

With ``processes`` and ``server`` the only modules that do I/O; this one makes, those look and wait.
"""

import contextlib
import errno
import fcntl
import mmap
import os
import select
import stat
from typing import Final

from hvsim.abi.memory import PAGE_SIZE
from hvsim.wire import doorbell

F_SEAL_FUTURE_WRITE: Final = 0x10
"""No new writable mapping and no write(2); mappings that exist stay writable (Linux 5.1)."""
_BIRTH_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_WRITE_SEALS: Final = fcntl.F_SEAL_WRITE | F_SEAL_FUTURE_WRITE


class SharedMemory:
    """A sparse memfd whose size is sealed at birth, so that no access to it can fault.

    The hypervisor's own open file of it is given to nobody: whoever is lent the memory gets one of
    its own, so that no flag is shared, and so that the kernel can tell whether somebody has it.
    """

    def __init__(self, name: str, nr_pages: int) -> None:
        self._size = nr_pages * PAGE_SIZE
        self._freed = 0
        self._map: mmap.mmap | None = None
        self._view: memoryview | None = None
        made = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(made, self._size)
            fcntl.fcntl(made, fcntl.F_ADD_SEALS, _BIRTH_SEALS)
            # Opened anew, since the first open file of a memfd is not counted among its writers.
            self._fd = _reopen(made)
        finally:
            os.close(made)

    def lend(self) -> int:
        """A new open file of it."""
        return _reopen(self._fd)

    def read(self, offset: int, length: int) -> bytes:
        """Copy bytes out."""
        return os.pread(self._fd, length, offset)

    def write(self, offset: int, data: bytes) -> None:
        """Copy bytes in; through the own mapping where the descriptor is sealed."""
        if self._view is not None:
            self._view[offset : offset + len(data)] = data
        else:
            os.pwrite(self._fd, data, offset)

    def view(self) -> memoryview:
        """The bytes, mapped here on first use."""
        if self._view is None:
            self._map = mmap.mmap(self._fd, self._size)
            self._view = memoryview(self._map)
        return self._view

    def seal(self, readonly: bool) -> bool:
        """Fix how it may be mapped from now on; see ``host.Memory``."""
        seals = fcntl.F_SEAL_SEAL | (F_SEAL_FUTURE_WRITE if readonly else 0)
        # Refused when its owner was faster, with seals of his own: then those there are decide.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._fd, fcntl.F_ADD_SEALS, seals)
        there = fcntl.fcntl(self._fd, fcntl.F_GET_SEALS)
        if not there & fcntl.F_SEAL_SEAL:
            return False
        return bool(there & F_SEAL_FUTURE_WRITE) if readonly else not there & _WRITE_SEALS

    def held(self) -> bool:
        """Ask the kernel: a write lease is given to the only open file there is (fcntl(2)).

        A mapping and a message on its way count as open files.  Where there are no leases
        (fs.leases-enable) nobody can tell, and it counts as not held.
        """
        try:
            fcntl.fcntl(self._fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError as error:
            return error.errno == errno.EAGAIN
        fcntl.fcntl(self._fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False

    def shrink(self, nr_pages: int) -> bool:
        """Punch out the next pages that hold something; a sealed one goes as a whole."""
        if fcntl.fcntl(self._fd, fcntl.F_GET_SEALS) & _WRITE_SEALS:
            return True
        try:
            self._freed = os.lseek(self._fd, self._freed, os.SEEK_DATA)
        except OSError:
            return True  # ENXIO: only a hole is left
        length = min(nr_pages * PAGE_SIZE, self._size - self._freed)
        with mmap.mmap(self._fd, length, offset=self._freed) as piece:
            piece.madvise(mmap.MADV_REMOVE)
        self._freed += length
        return self._freed >= self._size

    def close(self) -> None:
        """Let go of it: what it still holds is freed when nobody else has it."""
        if self._view is not None and self._map is not None:
            self._view.release()
            self._map.close()
            self._view = self._map = None
        os.close(self._fd)


def _reopen(fd: int) -> int:
    """A new open file of a memfd."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)


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

    def lend(self) -> int:
        """Another descriptor of it.  Raises OSError."""
        return fcntl.fcntl(self.fd, fcntl.F_DUPFD_CLOEXEC, 0)

    def close(self) -> None:
        """Let go of it; who was given the descriptor keeps that."""
        os.close(self.fd)
        self.fd = -1


class WaitSet:
    """An epoll set in which a process waits, and into which the hypervisor looks."""

    def __init__(self) -> None:
        self._set = select.epoll()
        self.fd: Final = self._set.fileno()

    def lend(self) -> int:
        """Another descriptor of it."""
        return os.dup(self.fd)

    def close(self) -> None:
        """Let go of it."""
        self._set.close()


class Bell:
    """A doorbell."""

    __slots__ = ("fd",)

    def __init__(self) -> None:
        self.fd = doorbell.make()

    def lend(self) -> int:
        """Another descriptor of it."""
        return os.dup(self.fd)

    def ring(self) -> None:
        """Ring it, whatever others that hold it have done to it."""
        doorbell.ring(self.fd)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fd)


def raise_descriptor_limit() -> None:
    """As many descriptors as the machine allows: every extent and port of a lab costs some."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
