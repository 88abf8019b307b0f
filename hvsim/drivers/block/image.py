"""The file or block device behind a virtual disk.

Scatter-gather straight into and out of the frontend's mapped pages; nothing is copied on the way.
Offsets and lengths are bytes and were checked by the caller; all errors are OSError.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Sequence
from typing import Final, Protocol

from hvsim.abi.blkif import SECTOR_SIZE
from hvsim.linux import fallocate

_BLKSSZGET: Final = 0x1268
_BLKPBSZGET: Final = 0x127B
_BLKDISCARD: Final = 0x1277


class Busy(Exception):
    """The medium cannot do a request now: it is asked once more after so many seconds, and nothing
    that came later is done before (BLK_STS_DEV_RESOURCE in Linux)."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"busy for {seconds:g} s")
        self.seconds = seconds


class Medium(Protocol):
    """What blkback serves a disk from: an :class:`Image`, or what offers the same.

    A request raises OSError for a failure, and may raise `Busy`.
    """

    path: str
    readonly: bool
    device: int
    sectors: int
    sector_size: int
    physical_sector_size: int
    discard_granularity: int
    direct: bool

    def fileno(self) -> int:
        """The descriptor of the file or block device, -1 where there is none."""

    def read(self, views: Sequence[memoryview], offset: int) -> None:
        """Fill *views* from *offset* on."""

    def write(self, views: Sequence[memoryview], offset: int) -> None:
        """Write *views* at *offset*."""

    def flush(self) -> None:
        """Make everything that was written durable."""

    def discard(self, offset: int, length: int) -> None:
        """The range is needed no longer."""

    def close(self) -> None:
        """No more of it."""


class Image:
    """An open image.

    Attributes:
        path: where it was opened.
        readonly: whether writes are refused.
        sectors: size in units of 512 bytes; an incomplete last sector does not count.
        sector_size, physical_sector_size: bytes.
        discard_granularity: bytes; 0 when it cannot discard.
    """

    direct = True
    """Whether the compiled batch service may use the descriptor itself."""

    def __init__(self, path: str, readonly: bool, fd: int = -1) -> None:
        """Open it, or take over *fd*, which is open already; closed when it is of no use.

        Raises: OSError: cannot be opened; ENOTBLK for what is neither file nor block device.
        """
        self.path = path
        self.readonly = readonly
        flags = os.O_RDONLY if readonly else os.O_RDWR
        # Should a FIFO or a terminal be there, nobody waits for its other end, or gets hold of it.
        flags |= os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        self._fd = fd if fd >= 0 else os.open(path, flags)
        try:
            status = os.fstat(self._fd)
            self._is_block = stat.S_ISBLK(status.st_mode)
            if not self._is_block and not stat.S_ISREG(status.st_mode):
                raise OSError(errno.ENOTBLK, os.strerror(errno.ENOTBLK), path)
            self.device = status.st_rdev if self._is_block else status.st_dev
            size = os.lseek(self._fd, 0, os.SEEK_END)
            self.sectors = size // SECTOR_SIZE
            self.sector_size = self._ioctl(_BLKSSZGET) if self._is_block else SECTOR_SIZE
            self.physical_sector_size = self._ioctl(_BLKPBSZGET) if self._is_block else SECTOR_SIZE
            self.discard_granularity = 0 if readonly else self._granularity(status.st_blksize)
        except BaseException:
            os.close(self._fd)
            raise

    def __repr__(self) -> str:
        return f"<Image {self.path} {self.sectors} sectors{' read-only' * self.readonly}>"

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def close(self) -> None:
        """Close it.  Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _ioctl(self, request: int) -> int:
        raw = fcntl.ioctl(self._fd, request, bytes(4))
        return int(struct.unpack("=I", raw)[0])

    def _granularity(self, block_size: int) -> int:
        if self._is_block:
            return self.physical_sector_size
        try:
            # Past the end there is nothing to punch: this only asks whether it could be done.
            fallocate.punch_hole(self._fd, (self.sectors + 8) * SECTOR_SIZE, SECTOR_SIZE)
        except OSError:
            return 0
        return block_size

    def read(self, views: Sequence[memoryview], offset: int) -> None:
        """Fill `views` from `offset` on.  Raises OSError, EIO when the file ends before."""
        self._all(os.preadv, list(views), offset)

    def write(self, views: Sequence[memoryview], offset: int) -> None:
        """Write `views` at `offset`.  Raises OSError."""
        self._all(os.pwritev, list(views), offset)

    def flush(self) -> None:
        """Make everything that was written durable (fdatasync).  Raises OSError."""
        os.fdatasync(self._fd)

    def discard(self, offset: int, length: int) -> None:
        """Give the range back to the file system or device.  Raises OSError."""
        if self._is_block:
            fcntl.ioctl(self._fd, _BLKDISCARD, struct.pack("=QQ", offset, length))
        else:
            fallocate.punch_hole(self._fd, offset, length)

    def _all(self, operation: object, views: list[memoryview], offset: int) -> None:
        assert callable(operation)
        while views:
            done = operation(self._fd, views, offset)
            if done <= 0:
                raise OSError(errno.EIO, "the image ends here", self.path)
            offset += done
            while views and done >= views[0].nbytes:
                done -= views.pop(0).nbytes
            if views and done:
                views[0] = views[0][done:]
