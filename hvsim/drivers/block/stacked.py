"""A disk that is served from another: a driver domain's own virtual disk is what it serves.

As ``phy:/dev/xvdb`` in a Linux driver domain.  A request of the frontend waits for one of ours, and
so does the driver domain, as it does for its files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from hvsim.abi.blkif import SECTOR_SIZE
from hvsim.drivers.block.request import DISCARD, FLUSH, READ, WRITE
from hvsim.names.vdev import device_number

if TYPE_CHECKING:
    from hvsim.drivers.block.disk import Disk

TIMEOUT: Final = 30.0
"""Seconds that the backend below has for one request; then it has failed."""


class StackedImage:
    """One of the domain's own disks as the medium of another.  See ``image.Medium``."""

    direct = False

    def __init__(self, path: str, disk: Disk, readonly: bool) -> None:
        """*disk* is connected."""
        self._disk = disk
        self.path = path
        self.readonly = readonly or disk.readonly
        self.device = device_number(disk.vdev)
        self.sectors = disk.sectors
        self.sector_size = disk.sector_size
        self.physical_sector_size = disk.features.physical_sector_size
        can = disk.features.discard and not self.readonly
        self.discard_granularity = disk.features.discard_granularity if can else 0

    def __repr__(self) -> str:
        return f"<StackedImage {self.path} on {self._disk!r}>"

    def fileno(self) -> int:
        """There is none."""
        return -1

    def read(self, views: Sequence[memoryview], offset: int) -> None:
        """Raises OSError."""
        total = sum(view.nbytes for view in views)
        data = self._do(READ, offset, nr_sectors=total // SECTOR_SIZE)
        at = 0
        for view in views:
            view[:] = data[at : at + view.nbytes]
            at += view.nbytes

    def write(self, views: Sequence[memoryview], offset: int) -> None:
        """Raises OSError."""
        self._do(WRITE, offset, data=b"".join(views))

    def flush(self) -> None:
        """Raises OSError."""
        self._do(FLUSH, 0)

    def discard(self, offset: int, length: int) -> None:
        """Raises OSError."""
        self._do(DISCARD, offset, nr_sectors=length // SECTOR_SIZE)

    def close(self) -> None:
        """The disk stays the domain's."""

    def _do(self, op: int, offset: int, *, nr_sectors: int = 0, data: bytes = b"") -> bytes:
        disk = self._disk
        try:
            request = disk.submit(op, offset // SECTOR_SIZE, nr_sectors, data=data)
            return disk.finish(request, TIMEOUT)
        except (ValueError, TimeoutError) as failure:
            raise OSError(f"{self.path}: {failure}") from failure
