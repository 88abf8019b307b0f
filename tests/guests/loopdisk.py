"""A disk for guest programs through the real blkfront queue, blkback engine and image file."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from hvsim.drivers.block.request import FLUSH, READ, WRITE, Request
from tests.drivers.loopback import Loopback

SECTOR = 512


class LoopDisk:
    """Both halves in this process; what BlockFront offers of it to programs."""

    def __init__(self, image: Path, sectors: int) -> None:
        self.sectors = sectors
        self.sector_size = SECTOR
        self.loop = Loopback(image, sectors=sectors)

    def submit(
        self, op: int, sector: int = 0, nr_sectors: int = 0, *, data: bytes = b""
    ) -> Request:
        if data:
            nr_sectors = len(data) // SECTOR
        request = Request(op, sector, nr_sectors, data=data, waiter=lambda *_: self.loop.pump())
        self.loop.queue.submit(request)
        return request

    def read(self, sector: int, nr_sectors: int) -> bytes:
        return self.submit(READ, sector, nr_sectors).wait()

    def write(self, sector: int, data: bytes) -> None:
        assert len(data) % SECTOR == 0
        self.submit(WRITE, sector, data=data).wait()

    def flush(self) -> None:
        self.submit(FLUSH).wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.close()
