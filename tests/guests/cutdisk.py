"""A disk whose power can fail: it knows what was flushed and what was merely written.

After a cut each sector that was written since the last flush may hold any of the contents it had
in between: writes are dropped and reordered, and a write of many sectors is torn. Sectors of 512
bytes are never torn, as on real disks.
"""

from __future__ import annotations

import random
from pathlib import Path
from types import TracebackType
from typing import Self

SECTOR = 512


class PowerCut(OSError):
    """The power failed at this operation."""


class FileDisk:
    """A `Device` on a raw file, as the guest's vbd is one in the end."""

    def __init__(self, path: Path, size: int) -> None:
        self._file = path.open("w+b", buffering=0)
        self._file.truncate(size)
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        self._check(offset, length)
        self._file.seek(offset)
        return self._file.read(length)

    def write(self, offset: int, data: bytes) -> None:
        self._check(offset, len(data))
        self._file.seek(offset)
        self._file.write(data)

    def flush(self) -> None:
        """No power fails here, so the page cache is durable enough."""

    def _check(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError(f"{length} bytes at {offset} are not on a disk of {self.size}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._file.close()


class CutDisk:
    """A disk in memory that cuts the power before its n-th write or flush.

    `operations` counts both. ``lies`` makes flush return without having done anything: the
    negative control of every test here.
    """

    def __init__(
        self, size: int, *, cut_at: int | None = None, content: bytes = b"", lies: bool = False
    ) -> None:
        self.size = size
        self.operations = 0
        self._cut_at = cut_at
        self._lies = lies
        self._now = bytearray(content.ljust(size, b"\0"))
        self._durable = bytes(self._now)
        self._unflushed: dict[int, list[bytes]] = {}

    @property
    def is_off(self) -> bool:
        """Has the power failed? Nothing changes the disk from then on."""
        return self._cut_at is not None and self.operations > self._cut_at

    def read(self, offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= self.size
        return bytes(self._now[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        assert 0 <= offset <= offset + len(data) <= self.size
        if self.is_off:
            raise PowerCut("there is no power")
        self._now[offset : offset + len(data)] = data
        for sector in range(offset // SECTOR, (offset + len(data) + SECTOR - 1) // SECTOR):
            start = sector * SECTOR
            self._unflushed.setdefault(sector, []).append(bytes(self._now[start : start + SECTOR]))
        self._operation()

    def flush(self) -> None:
        self._operation()
        if not self._lies:
            self._durable = bytes(self._now)
            self._unflushed.clear()

    def _operation(self) -> None:
        # A write that the power fails at is already among the unflushed ones: it may be there
        # whole, in part or not at all. A flush that it fails at has not happened.
        self.operations += 1
        if self.is_off:
            raise PowerCut(f"power failed at operation {self.operations}")

    def after_cut(self, dice: random.Random) -> bytes:
        """One of the contents that the disk may have when the power returns."""
        found = bytearray(self._durable)
        for sector, contents in self._unflushed.items():
            start = sector * SECTOR
            found[start : start + SECTOR] = dice.choice([self._durable[start : start + SECTOR],
                                                         *contents])  # fmt: skip
        return bytes(found)
