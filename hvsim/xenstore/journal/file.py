"""The file that outlives the store: every change, before anybody is told that it was made.

What must survive is the death of the process, not of the machine: bytes that ``write`` has taken
belong to the kernel, so nothing is ever synced to a disk.

::

    b"hvsimxs1"
    u32 length, u32 crc32 of the payload, payload      a frame: all of it counts, or none
    ...

A frame holds what happened between two moments at which something left the store; see
``recorder``.  A store that is killed inside ``write`` leaves a torn frame at the end: nobody was
answered for it yet, so it is dropped.  The first frame is a snapshot.  When the frames behind it
have grown larger than :attr:`Journal.due` says, a new snapshot is written beside the file and
renamed over it, so the file stays within a small multiple of the store and there is always exactly
one that is whole.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MAGIC: Final = b"hvsimxs1"
_FRAME: Final = struct.Struct("<II")

GROWTH: Final = 4
"""Frames may take up this many times the snapshot's size before a new snapshot is due."""
SLACK: Final = 1024 * 1024
"""Bytes that they may take up in any case."""


def frame(payload: bytes) -> bytes:
    """*payload* as it stands in the file."""
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def frames(data: bytes) -> Iterator[bytes]:
    """The payloads of a journal's bytes, up to the first frame that is not whole."""
    position = len(MAGIC)
    if data[:position] != MAGIC:
        return
    while position + _FRAME.size <= len(data):
        length, crc = _FRAME.unpack_from(data, position)
        start = position + _FRAME.size
        payload = data[start : start + length]
        if len(payload) != length or zlib.crc32(payload) != crc:
            return
        yield payload
        position = start + length


def read(path: str) -> list[bytes]:
    """The payloads of the journal at *path*; none when there is no such file.  Raises OSError."""
    try:
        return list(frames(Path(path).read_bytes()))
    except FileNotFoundError:
        return []


class Journal:
    """The file, open for appending.

    Args:
        path: where it is; what is there is replaced.
        snapshot: payload of the first frame.

    Raises: OSError (no room, no such directory); the former file is untouched then.
    """

    def __init__(self, path: str, snapshot: bytes) -> None:
        self.path = path
        self.size = 0
        self._base = 0
        self._fd = -1
        self.rewrite(snapshot)

    @property
    def due(self) -> bool:
        """Whether it is time for a new snapshot."""
        return self.size - self._base > SLACK + GROWTH * self._base

    def append(self, payload: bytes) -> None:
        """Add a frame.  Raises OSError: ENOSPC; the file ends as it did before."""
        data = frame(payload)
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, data[written:] if written else data)
        except OSError:
            if written:
                os.ftruncate(self._fd, self.size)
            raise
        self.size += written

    def rewrite(self, snapshot: bytes) -> None:
        """Begin anew with a snapshot, in one step.  Raises OSError; nothing has changed then."""
        beside = f"{self.path}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(beside, flags, 0o600)
        try:
            data = memoryview(MAGIC + frame(snapshot))
            size = len(data)
            while data:
                data = data[os.write(fd, data) :]
            os.rename(beside, self.path)
        except BaseException:
            os.close(fd)
            raise
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        self.size = self._base = size

    def close(self) -> None:
        """Close the file, which stays.  Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
