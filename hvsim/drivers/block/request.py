"""One request of a guest program, and the pieces of it that travel on the ring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hvsim.abi.blkif import (
    BLKIF_OP_DISCARD,
    BLKIF_OP_FLUSH_DISKCACHE,
    BLKIF_OP_READ,
    BLKIF_OP_WRITE,
    BLKIF_OP_WRITE_BARRIER,
    BLKIF_RSP_OKAY,
    SECTOR_SIZE,
    SECTORS_PER_PAGE,
)
from hvsim.drivers.block.protocol import BlockError, op_name

READ: Final = BLKIF_OP_READ
WRITE: Final = BLKIF_OP_WRITE
BARRIER: Final = BLKIF_OP_WRITE_BARRIER
FLUSH: Final = BLKIF_OP_FLUSH_DISKCACHE
DISCARD: Final = BLKIF_OP_DISCARD

CHANGES: Final = frozenset({WRITE, BARRIER, DISCARD})
"""Operations that change sectors."""


class Request:
    """A read, write, flush, barrier or discard on its way.  Made by `BlockFront.submit`.

    Attributes:
        op: BLKIF_OP_*.
        sector, nr_sectors: the range, in units of 512 bytes.
        status: BLKIF_RSP_* once it was answered (the first failure of its pieces), else None.
    """

    __slots__ = (
        "_error",
        "_gathers",
        "_left",
        "_result",
        "_waiter",
        "data",
        "flag",
        "nr_sectors",
        "op",
        "sector",
        "status",
        "target",
    )

    def __init__(
        self,
        op: int,
        sector: int = 0,
        nr_sectors: int = 0,
        *,
        data: bytes = b"",
        target: memoryview | None = None,
        flag: int = 0,
        waiter: Callable[[Request, float | None], None] | None = None,
    ) -> None:
        self.op = op
        self.sector = sector
        self.nr_sectors = nr_sectors
        self.data = data
        self.target = target
        self.flag = flag
        self.status: int | None = None
        self._result = b""
        self._left = 0
        self._gathers = False
        self._error: BlockError | None = None
        self._waiter = waiter

    def __repr__(self) -> str:
        state = "waiting" if self.status is None else f"status {self.status}"
        return f"<{op_name(self.op)} {self.sector}+{self.nr_sectors} {state}>"

    @property
    def done(self) -> bool:
        """Whether it was answered, or failed."""
        return self.status is not None

    def result(self) -> bytes:
        """What was read (b"" for everything else, and for `readinto`), once it is done.

        Raises: BlockError when it failed, RuntimeError when it is not done.
        """
        if self.status is None:
            raise RuntimeError(f"{self!r} is not done")
        if self.status != BLKIF_RSP_OKAY:
            if self._error is not None:
                raise self._error
            raise BlockError(self.status, op_name(self.op), self.sector)
        return self._result

    def wait(self, timeout: float | None = None) -> bytes:
        """Wait until it is done, at most `timeout` seconds (None: the device's `io_timeout`).

        Returns as `result`.  Raises: BlockError; TimedOut, after which it is still on its way.
        """
        if self.status is None:
            assert self._waiter is not None
            self._waiter(self, timeout)
        return self.result()

    # -- inside: called by the queue -------------------------------------------------------

    def only_part(self) -> Part:
        """All of it as one piece."""
        self._left = 1
        return Part(self, self.sector, self.nr_sectors, 0)

    def split(self, max_sectors: int) -> list[Part]:
        """The pieces that fit on the ring, in order."""
        if self.op in (FLUSH, DISCARD) or self.nr_sectors <= max_sectors:
            self._left = 1
            return [Part(self, self.sector, self.nr_sectors, 0)]
        parts = []
        for first in range(0, self.nr_sectors, max_sectors):
            count = min(max_sectors, self.nr_sectors - first)
            parts.append(Part(self, self.sector + first, count, first * SECTOR_SIZE))
        self._left = len(parts)
        self.gather()
        return parts

    def gather(self) -> None:
        """A read in several pieces collects them in a buffer of its own."""
        if self.op == READ and self.target is None:
            self.target = memoryview(bytearray(self.nr_sectors * SECTOR_SIZE))
            self._gathers = True

    def store(self, data: bytes) -> None:
        """All that a read of one piece has read."""
        self._result = data

    def complete_read(self, data: bytes) -> None:
        """Done: a read of one piece that has no target has read `data`."""
        self._result = data
        self._left = 0
        self.status = BLKIF_RSP_OKAY

    def part_done(self, status: int) -> None:
        """One of the pieces was answered; the first failure decides."""
        self._left -= 1
        if status != BLKIF_RSP_OKAY and self._error is None:
            self._error = BlockError(status, op_name(self.op), self.sector)
        if self._left == 0:
            if self._gathers and self.target is not None:
                self._result = bytes(self.target)
                self.target = None
            self.status = BLKIF_RSP_OKAY if self._error is None else self._error.status

    def more_parts(self, count: int) -> None:
        """A piece was cut into `count` more pieces than before."""
        self._left += count

    def fail(self, error: BlockError) -> None:
        """Done, without an answer."""
        if self.status is None:
            self._error = error
            self.status = error.status


class Part:
    """A piece of a request, of the size that one ring request may have."""

    __slots__ = ("count", "indirect", "offset", "pages", "request", "sector")

    def __init__(self, request: Request, sector: int, count: int, offset: int) -> None:
        self.request = request
        self.sector = sector
        self.count = count
        self.offset = offset
        self.pages: list[int] = []
        self.indirect: list[int] = []

    @property
    def nr_pages(self) -> int:
        """Pages its data needs."""
        return -(-self.count // SECTORS_PER_PAGE)

    def overlaps(self, other: Part) -> bool:
        """Whether both touch a common sector."""
        return self.sector < other.sector + other.count and other.sector < self.sector + self.count

    def cut(self, max_sectors: int) -> list[Part]:
        """This piece as smaller ones: a new backend may take less at once than the old did."""
        if self.request.op in (FLUSH, DISCARD) or self.count <= max_sectors:
            return [self]
        smaller = [
            Part(
                self.request,
                self.sector + first,
                min(max_sectors, self.count - first),
                self.offset + first * SECTOR_SIZE,
            )
            for first in range(0, self.count, max_sectors)
        ]
        self.request.more_parts(len(smaller) - 1)
        self.request.gather()
        return smaller
