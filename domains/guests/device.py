"""What the volume stands on: a device of bytes, and blkfront as one."""

from __future__ import annotations

from typing import Final, Protocol

from hvsim.abi.blkif import SECTOR_SIZE


class Device(Protocol):
    """Bytes at offsets. A write is durable after the next `flush`, and may be torn before it,
    but never within a sector of 512 bytes."""

    @property
    def size(self) -> int:
        """Bytes of the device."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes; OSError or ValueError when they cannot be had."""

    def write(self, offset: int, data: bytes) -> None:
        """Write all of ``data``."""

    def flush(self) -> None:
        """Return when everything written before is durable."""


class Disk(Protocol):
    """What is used of `hvsim.drivers.block.front.BlockFront` here."""

    @property
    def sectors(self) -> int:
        """Size in units of 512 bytes."""

    @property
    def sector_size(self) -> int:
        """Bytes of the smallest unit that can be written."""

    def read(self, sector: int, nr_sectors: int) -> bytes:
        """The content of these sectors."""

    def write(self, sector: int, data: bytes) -> None:
        """Write whole sectors."""

    def flush(self) -> None:
        """Make what was written durable."""


class FrontDevice:
    """A vbd as a `Device`: offsets need not be aligned; a partly written sector is read first."""

    def __init__(self, front: Disk) -> None:
        self._front: Final = front
        self._unit: Final = max(front.sector_size, SECTOR_SIZE)

    @property
    def size(self) -> int:
        """Bytes of the disk."""
        return self._front.sectors * SECTOR_SIZE

    def read(self, offset: int, length: int) -> bytes:
        """Raises what `BlockFront.read` raises."""
        if length <= 0:
            return b""
        start = offset - offset % self._unit
        end = offset + length + -(offset + length) % self._unit
        data = self._front.read(start // SECTOR_SIZE, (end - start) // SECTOR_SIZE)
        return data[offset - start : offset - start + length]

    def write(self, offset: int, data: bytes) -> None:
        """Raises what `BlockFront.write` and `BlockFront.read` raise."""
        if not data:
            return
        unit = self._unit
        before, after = offset % unit, -(offset + len(data)) % unit
        if before:
            data = self.read(offset - before, before) + data
        if after:
            data = data + self.read(offset - before + len(data), after)
        self._front.write((offset - before) // SECTOR_SIZE, data)

    def flush(self) -> None:
        """Raises what `BlockFront.flush` raises."""
        self._front.flush()
