"""What of a run directory may be believed: what is this user's own, and nobody else can change.

A run directory may lie in /tmp, where anybody can make one of any name, with a record that names
anybody's processes.  Whoever acts on a record asks here first, on every reading.
"""

import errno
import os
import stat
from pathlib import Path
from typing import Final

from hvsim.errors import HvsimError

RECORD_MAX: Final = 16 << 20
"""Bytes of a record that are read."""
_OTHERS_WRITE: Final = 0o022


class Untrusted(HvsimError):
    """A file or directory that somebody else made, or could change; the text says which."""


def check(path: Path, status: os.stat_result, *, directory: bool) -> None:
    """Raises: Untrusted: *path*, of which *status* was said, is not of this user alone."""
    kind = "directory" if directory else "file"
    right = stat.S_ISDIR if directory else stat.S_ISREG
    if not right(status.st_mode):
        raise Untrusted(f"{path} is no {kind} but something that somebody put there; remove it")
    if status.st_uid != os.geteuid():
        raise Untrusted(
            f"{path} belongs to user {status.st_uid}, not to you: nothing in it is believed; "
            "act as that user, or set HVSIM_RUN_DIR to a directory of your own"
        )
    if status.st_mode & _OTHERS_WRITE:
        raise Untrusted(
            f"{path} can be changed by others (mode {stat.S_IMODE(status.st_mode):o}): nothing "
            f"in it is believed; if nobody did, `chmod go-w {path}`"
        )


def read(directory: Path, name: str) -> bytes | None:
    """The contents of a file in a directory, both of this user alone; None when there is no file.

    Neither may be a symbolic link, and neither can be exchanged between the look and the reading.

    Raises: Untrusted; OSError: it cannot be read, or there is no such directory.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        folder = os.open(directory, flags | os.O_DIRECTORY)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            check(directory, os.lstat(directory), directory=True)
        if error.errno == errno.EACCES:  # somebody else's, and closed
            check(directory, os.stat(directory), directory=True)
        raise
    try:
        check(directory, os.fstat(folder), directory=True)
        try:
            fd = os.open(name, flags, dir_fd=folder)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                check(directory / name, os.lstat(name, dir_fd=folder), directory=False)
            raise
        with open(fd, "rb") as file:
            check(directory / name, os.fstat(fd), directory=False)
            return file.read(RECORD_MAX)
    finally:
        os.close(folder)
