"""Faults of what is behind a disk: it fails, is slow, forgets, lies.

Stands between blkback and its image (the seam ``MEDIUM``), as any `Medium` would: what a request
does and what it says it did are the two things that a medium can get wrong.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from hvsim.abi.blkif import SECTOR_SIZE
from hvsim.domain.seams import MEDIUM
from hvsim.drivers.block.image import Busy

if TYPE_CHECKING:
    from hvsim.domain.injection import Fault
    from hvsim.domain.xenbus.device import Device
    from hvsim.drivers.block.image import Medium

_WRITES: Final = frozenset({"full", "short", "torn"})
MAX_HELD: Final = 1 << 16
"""Sectors that a medium which loses flushes holds back; older ones are written."""


def stand(fault: Fault) -> Callable[[], None]:
    """Put *fault* between every blkback that it is about and its image."""
    made: list[BrokenMedium] = []

    def layer(medium: Medium, device: Device) -> Medium:
        if not fault.is_about(device):
            return medium
        kind = LosesFlushes if fault.settings["media"] == "lost-flush" else BrokenMedium
        broken = kind(medium, fault)
        made.append(broken)
        return broken

    take_out = fault.domain.seams.insert(MEDIUM, layer)

    def lift() -> None:
        take_out()
        for broken in made:
            broken.mend()

    return lift


class BrokenMedium:
    """A medium that a fault stands before."""

    direct = False

    def __init__(self, medium: Medium, fault: Fault) -> None:
        settings = fault.settings
        self._medium = medium
        self._fault = fault
        self._media: Final = str(settings["media"])
        self._op = settings.get("op")
        self._sectors = settings.get("sector")
        self._delay = settings.get("by", [0.1, 0.1])
        self._ready: float | None = None
        self.path = medium.path
        self.readonly = medium.readonly
        self.device = medium.device
        self.sectors = medium.sectors
        self.sector_size = medium.sector_size
        self.physical_sector_size = medium.physical_sector_size
        self.discard_granularity = medium.discard_granularity

    def fileno(self) -> int:
        """None: each request passes here."""
        return -1

    def mend(self) -> None:
        """The fault is gone."""

    def close(self) -> None:
        """No more of it."""
        self.mend()
        self._medium.close()

    # -- requests ------------------------------------------------------------------------------

    def read(self, views: Sequence[memoryview], offset: int) -> None:
        """As `Medium.read`."""
        hit = self._hits("read", offset, views)
        if hit and self._media == "eio":
            raise self._refused("read", offset, errno.EIO)
        if hit and self._media == "slow":
            self._dawdle("read", offset)
        self._medium.read(views, offset)
        if hit and self._media == "flip":
            self._flip(views, offset)

    def write(self, views: Sequence[memoryview], offset: int) -> None:
        """As `Medium.write`."""
        if not self._hits("write", offset, views):
            self._medium.write(views, offset)
        elif self._media == "eio":
            raise self._refused("write", offset, errno.EIO)
        elif self._media == "full":
            raise self._refused("write", offset, errno.ENOSPC)
        elif self._media == "slow":
            self._dawdle("write", offset)
        else:  # short, torn
            written = self._first_half(views, offset)
            text = f"write at sector {offset // SECTOR_SIZE}: {written} sectors of it written"
            if self._media == "short":
                self._fault.told(f"{text}, then EIO")
                raise OSError(errno.EIO, os.strerror(errno.EIO), self.path)
            self._fault.told(f"{text}, and acknowledged")

    def flush(self) -> None:
        """As `Medium.flush`."""
        if self._hits("flush", 0, ()):
            if self._media == "eio":
                raise self._refused("flush", 0, errno.EIO)
            if self._media == "slow":
                self._dawdle("flush", 0)
        self._medium.flush()

    def discard(self, offset: int, length: int) -> None:
        """As `Medium.discard`."""
        if self._hits("discard", offset, (), length):
            if self._media == "eio":
                raise self._refused("discard", offset, errno.EIO)
            if self._media == "slow":
                self._dawdle("discard", offset)
        self._medium.discard(offset, length)

    # -- inside --------------------------------------------------------------------------------

    def _hits(
        self, op: str, offset: int, views: Sequence[memoryview], length: int | None = None
    ) -> bool:
        """Whether the fault fires on this request.  Raises: Busy, for one that waits."""
        if self._ready is not None:  # it is asked once more, and nothing else was before
            left = self._ready - self._fault.domain.vcpu.now()
            if left > 0:
                raise Busy(left)
            self._ready = None
            return False
        media = self._media
        if (media in _WRITES and op != "write") or (media == "flip" and op != "read"):
            return False
        if self._op is not None and op != self._op:
            return False
        if self._sectors is not None:
            if op == "flush":
                return False
            size = sum(view.nbytes for view in views) if length is None else length
            first, last = self._sectors
            if offset > last * SECTOR_SIZE or offset + size <= first * SECTOR_SIZE:
                return False
        return self._fault.fires()

    def _refused(self, op: str, offset: int, number: int) -> OSError:
        self._fault.told(f"{op} at sector {offset // SECTOR_SIZE}: {errno.errorcode[number]}")
        return OSError(number, os.strerror(number), self.path)

    def _dawdle(self, op: str, offset: int) -> None:
        """Let this request, on which the fault has fired, wait.  Raises: Busy."""
        least, most = self._delay
        seconds = least + (most - least) * self._fault.dice.random()
        self._ready = self._fault.domain.vcpu.now() + seconds
        self._fault.told(f"{op} at sector {offset // SECTOR_SIZE}: {seconds * 1000:g} ms late")
        raise Busy(seconds)

    def _first_half(self, views: Sequence[memoryview], offset: int) -> int:
        """Write the first sectors only, at least one less than all; how many."""
        total = sum(view.nbytes for view in views) // SECTOR_SIZE
        keep = total // 2
        left, some = keep * SECTOR_SIZE, []
        for view in views:
            if left:
                some.append(view[:left])
                left -= some[-1].nbytes
        if some:
            self._medium.write(some, offset)
        return keep

    def _flip(self, views: Sequence[memoryview], offset: int) -> None:
        dice = self._fault.dice
        view = views[dice.randrange(len(views))]
        at, bit = dice.randrange(view.nbytes), dice.randrange(8)
        view[at] ^= 1 << bit
        self._fault.told(f"read at sector {offset // SECTOR_SIZE}: a bit flipped")


class LosesFlushes(BrokenMedium):
    """A medium with a cache that a flush does not empty: what it holds back is read again, and
    lost with the process."""

    def __init__(self, medium: Medium, fault: Fault) -> None:
        super().__init__(medium, fault)
        self._held: dict[int, bytes] = {}

    def read(self, views: Sequence[memoryview], offset: int) -> None:
        """As `Medium.read`, with what is held back on top."""
        self._medium.read(views, offset)
        sector = offset // SECTOR_SIZE
        for view in views:
            for at in range(0, view.nbytes, SECTOR_SIZE):
                held = self._held.get(sector)
                if held is not None:
                    view[at : at + SECTOR_SIZE] = held
                sector += 1

    def write(self, views: Sequence[memoryview], offset: int) -> None:
        """Hold it back."""
        sector = offset // SECTOR_SIZE
        for view in views:
            for at in range(0, view.nbytes, SECTOR_SIZE):
                self._held.pop(sector, None)
                self._held[sector] = bytes(view[at : at + SECTOR_SIZE])
                sector += 1
        self._spill(MAX_HELD)

    def flush(self) -> None:
        """Say that it was done."""
        if self._hits("flush", 0, ()):
            self._fault.told(f"flush acknowledged, {len(self._held)} sectors held back")
            return
        self.mend()
        self._medium.flush()

    def discard(self, offset: int, length: int) -> None:
        """As `Medium.discard`."""
        for sector in range(offset // SECTOR_SIZE, (offset + length) // SECTOR_SIZE):
            self._held.pop(sector, None)
        self._medium.discard(offset, length)

    def mend(self) -> None:
        """Write what is held back."""
        self._spill(0)

    def _spill(self, keep: int) -> None:
        while len(self._held) > keep:
            sector = next(iter(self._held))
            self._medium.write([memoryview(self._held.pop(sector))], sector * SECTOR_SIZE)
