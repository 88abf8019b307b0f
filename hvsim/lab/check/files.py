"""What stands under a path that a lab file names, and whether it can be what it is named for."""

from __future__ import annotations

import errno
import os
import stat

from hvsim.lab.streams import TERMINALS

Reason = tuple[str, str]
"""What is wrong, and the remedy."""


def look(path: str | os.PathLike[str]) -> os.stat_result | None:
    """What is there; None for nothing.  Raises: OSError for what cannot be looked at."""
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        raise OSError(errno.EINVAL, "a NUL character in a path") from None


def image_fault(path: str | os.PathLike[str]) -> Reason | None:
    """Why what exists there is no disk image."""
    try:
        info = look(path)
    except OSError as error:
        return f"the image {path} cannot be looked at: {error.strerror}", "correct the path"
    if info is None or stat.S_ISREG(info.st_mode) or stat.S_ISBLK(info.st_mode):
        return None
    what = "a directory" if stat.S_ISDIR(info.st_mode) else "neither a file nor a block device"
    return f"{path} is {what}", "name a file or block device"


def file_fault(path: str) -> Reason | None:
    """Why a domain's process cannot be given that path (``files``)."""
    try:
        info = look(path)
    except OSError as error:
        return f"{path} cannot be looked at: {error.strerror}", "correct the path"
    if info is None:
        return (
            f"{path} does not exist",
            "correct the path (relative paths count from the lab file)",
        )
    if stat.S_ISCHR(info.st_mode) and os.major(info.st_rdev) in TERMINALS:
        return f"{path} is a terminal, and no domain gets one", "take it out"
    if stat.S_ISFIFO(info.st_mode) or stat.S_ISSOCK(info.st_mode):
        return (
            f"{path} is neither a file, a directory nor a device",
            "domains reach others by grants, event channels and the store alone: take it out",
        )
    return None
