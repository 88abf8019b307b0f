"""A console's output on disk: a file, and the one before it once that is full."""

import os
from pathlib import Path
from typing import Final

from hvsim.domain.backlog import Backlog
from hvsim.names.domain import unfit

LOG_MAX: Final = 1 << 20
"""Bytes of one file; with its predecessor a console keeps twice that."""
WAITING: Final = 64 * 1024
"""Bytes that wait while the disk is full, and as many of the newest."""


class ConsoleLog:
    """Appends to *path*; what a guest writes never takes more than two files of *limit* bytes."""

    def __init__(self, path: Path, limit: int = LOG_MAX) -> None:
        self.path: Final = path
        self._limit = limit
        self._fd = self._open()
        self._size = os.fstat(self._fd).st_size
        self._waiting = Backlog(0, WAITING)

    def write(self, data: bytes) -> None:
        """Append.  A full disk loses output and nothing else: once there is room again, the newest
        follows behind a mark."""
        if self._size and self._size + len(data) > self._limit:
            self._turn()
        self._waiting.add(data)
        self._waiting.took(0)
        head = self._waiting.head
        while head:
            try:
                count = os.write(self._fd, head)
            except OSError:
                break
            self._waiting.took(count)
            self._size += count

    def close(self) -> None:
        """Close the file, with what waited if the disk has room by now."""
        self.write(b"")
        os.close(self._fd)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self.path, flags, 0o600)

    def _turn(self) -> None:
        os.close(self._fd)
        self.path.replace(previous(self.path))
        self._fd = self._open()
        self._size = 0


def previous(path: Path) -> Path:
    """The file before *path*, which was full."""
    return path.with_name(path.name + ".1")


def log_name(name: str | None, domid: int) -> str:
    """The log's file name for a domain called *name*, which somebody else chose."""
    plain = name is not None and unfit(name) is None
    return f"{name if plain else f'domain-{domid}'}.log"
