"""The way to a path: where it really is, and the symbolic links that lead there.

A root directory of one's own shows a granted path under its own name.  Each link on the way is
made again, at its own place, so that the name and where it leads are what they are outside, and
nothing is ever made *through* a link.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MOST_LINKS: Final = 40
"""As many as the kernel follows (path_resolution(7))."""


@dataclass(frozen=True)
class Trail:
    """Attributes:
    real: the path without links.
    links: (where a link is, itself without links on the way; what it says).
    """

    real: str
    links: tuple[tuple[str, str], ...]


def follow(
    path: str,
    islink: Callable[[str], bool] = os.path.islink,
    readlink: Callable[[str], str] = os.readlink,
) -> Trail:
    """The trail of an absolute *path*; a part that does not exist is taken as it is.

    Raises:
        OSError: ELOOP: links in a circle.
    """
    here = "/"
    links: list[tuple[str, str]] = []
    ahead = path.split("/")[::-1]
    while ahead:
        step = ahead.pop()
        if step in ("", "."):
            continue
        if step == "..":
            here = os.path.dirname(here)
            continue
        there = os.path.join(here, step)
        if not islink(there):
            here = there
            continue
        if len(links) == MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        target = readlink(there)
        links.append((there, target))
        if target.startswith("/"):
            here = "/"
        ahead += target.split("/")[::-1]
    return Trail(here, tuple(links))


def is_below(path: str, directory: str) -> bool:
    """Whether *path* is *directory* or below it; both without links."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")
