"""One image is never writable in two places at once, also across labs.

Every process that serves an image, and the toolstack that attached it, holds a lock on the image
itself: an open-file-description lock (fcntl(2)), which the kernel ends with the last process that
has it, however that dies, and which every name of the file meets: symbolic and hard links alike.

All processes of one lab lock the *same* byte, far behind the end of any file, and read-locks of one
byte bear each other.  So a lab has an image as long as one of its processes does: a driver domain
that is built anew neither loses it nor is kept out by its own lab.  Which byte it is tells another
lab who is there::

    WRITERS + owner   by labs that may write
    READERS + owner   by labs that only read

Whoever wants to write looks for any foreign byte, whoever wants to read for a foreign writer's.  It
takes its own byte first and looks then, so that of two labs that come at the same moment at most
one gets the image.

As with the block script of a real host (check_sharing), mode ``w!`` does not look.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

OWNERS: Final = 1 << 48
"""An owner is a number below this."""
WRITERS: Final = 1 << 61
READERS: Final = WRITERS + OWNERS

_FLOCK: Final = struct.Struct("@hhqqi4x")
"""struct flock: type, whence, start, length, pid."""


class ImageBusy(Exception):
    """Another lab has the image.

    Attributes:
        owner: which, as `owner_of` numbers them.
        writes: it may write.
    """

    def __init__(self, owner: int, writes: bool) -> None:
        super().__init__(f"in use by lab {owner:012x}")
        self.owner = owner
        self.writes = writes


def owner_of(run_dir: str) -> int:
    """The number of the lab with that run directory, of which there is one on a machine."""
    digest = hashlib.blake2b(os.path.abspath(run_dir).encode(errors="surrogateescape"))
    return int(digest.hexdigest()[:12], 16)


def owner_in(args: Mapping[str, object]) -> int | None:
    """The number of the lab that a domain's program belongs to, by its arguments."""
    owner, run_dir = args.get("image_owner"), args.get("run_dir")
    if isinstance(owner, int) and 0 <= owner < OWNERS:
        return owner
    return owner_of(run_dir) if isinstance(run_dir, str) else None


def take(fd: int, owner: int, readonly: bool) -> None:
    """Lock the image behind *fd*, which can be read, for lab *owner*; the lock goes when the last
    copy of *fd* is closed.  Raises: OSError where the file system has no locks."""
    start = (READERS if readonly else WRITERS) + owner
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, start, 1, 0))


def other(fd: int, owner: int, readonly: bool) -> ImageBusy | None:
    """The lab beside *owner* that stands in the way of reading or writing."""
    for base in (WRITERS,) if readonly else (WRITERS, READERS):
        for first, end in ((0, owner), (owner + 1, OWNERS)):
            found = _held(fd, base + first, end - first) if end > first else None
            if found is not None:
                return ImageBusy(found - base, base == WRITERS)
    return None


def claim(path: str, owner: int, *, readonly: bool, shared: bool = False) -> int:
    """Lock the image *path* for lab *owner*; returns the descriptor that holds the lock.

    Args:
        shared: others may have it as well.

    Raises: ImageBusy; OSError when it cannot be opened for reading, or locked.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        take(fd, owner, readonly)
        busy = None if shared else other(fd, owner, readonly)
        if busy is not None:
            raise busy
    except BaseException:
        os.close(fd)
        raise
    return fd


def look(path: str, owner: int, *, readonly: bool) -> ImageBusy | None:
    """Whether `claim` would meet another lab, without taking anything; None also for what cannot
    be opened."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return other(fd, owner, readonly)
    finally:
        os.close(fd)


def identity(path: str) -> tuple[int, int]:
    """What two names of one image have in common.  Raises: OSError."""
    status = os.stat(path)
    if stat.S_ISBLK(status.st_mode):
        return (-1, status.st_rdev)
    return (status.st_dev, status.st_ino)


def _held(fd: int, start: int, length: int) -> int | None:
    """Where a lock of others begins in a range, None when there is none."""
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    kind, _, found, _, _ = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else int(found)
