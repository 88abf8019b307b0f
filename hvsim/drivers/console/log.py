"""A console's output on disk: a file, and the one before it once that is full."""

import os
from pathlib import Path
from typing import Final

from hvsim.names.domain import unfit

LOG_MAX: Final = 1 << 20
"""Bytes of one file; with its predecessor a console keeps twice that."""


class ConsoleLog:
    """Appends to *path*; what a guest writes never takes more than two files of *limit* bytes."""

    def __init__(self, path: Path, limit: int = LOG_MAX) -> None:
        self.path: Final = path
        self._limit = limit
        self._fd = self._open()
        self._size = os.fstat(self._fd).st_size

    def write(self, data: bytes) -> None:
        """Append; a full disk loses output and nothing else."""
        if self._size and self._size + len(data) > self._limit:
            self._turn()
        try:
            self._size += os.write(self._fd, data)
        except OSError:
            self._size += len(data)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self.path, flags, 0o600)

    def _turn(self) -> None:
        os.close(self._fd)
        self.path.replace(self.path.with_name(self.path.name + ".1"))
        self._fd = self._open()
        self._size = 0


def log_name(name: str | None, domid: int) -> str:
    """The log's file name for a domain called *name*, which somebody else chose."""
    plain = name is not None and unfit(name) is None
    return f"{name if plain else f'domain-{domid}'}.log"
