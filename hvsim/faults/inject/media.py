"""Faults of what is behind a disk: it fails, is slow, forgets, lies.

Stands between blkback and its image (the seam ``MEDIUM``), as any `Medium` would: what a request
does and what it says it did are the two things that a medium can get wrong.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hvsim.abi.blkif import SECTOR_SIZE
from hvsim.domain.seams import MEDIUM
from hvsim.drivers.block.image import Busy

if TYPE_CHECKING:
    from hvsim.domain.injection import Fault
    from hvsim.domain.xenbus.device import Device
    from hvsim.drivers.block.image import Medium

_ONLY: Final = {
    "full": "write",
    "short": "write",
    "torn": "write",
    "flip": "read",
    "lost-flush": "flush",
}
"""The one kind of request that a fault is about; any, where none is named."""
MAX_HELD: Final = 1 << 16
"""Sectors that a medium which loses flushes holds back; older ones are written."""


def stand(fault: Fault) -> Callable[[], None]:
    """Put *fault* between every blkback that it is about and its image.

    Raises: ValueError for words of which none could ever be hit.
    """
    _check(str(fault.settings["media"]), fault.settings.get("op"), "sector" in fault.settings)
    made: list[BrokenMedium] = []

    def layer(medium: Medium, device: Device) -> Medium:
        if not fault.is_about(device):
            return medium
        made[:] = [broken for broken in made if not broken.closed]
        for broken in made:
            if broken.true is true_of(medium):  # it stood there: what it holds goes on
                broken.medium = medium
                return broken
        kind = LosesFlushes if fault.settings["media"] == "lost-flush" else BrokenMedium
        made.append(kind(medium, fault))
        return made[-1]

    take_out = fault.domain.seams.insert(MEDIUM, layer)

    def lift() -> None:
        take_out()
        for broken in made:
            broken.mend()

    return lift


def _check(media: str, op: object, sector: bool) -> None:
    only = _ONLY.get(media)
    if only is not None and op not in (None, only):
        raise ValueError(f"media={media} is about a {only}, and never about op={op}")
    if sector and "flush" in (only, op):
        raise ValueError("sector: a flush is about none")


def true_of(medium: Medium) -> Medium:
    """What blkback has opened, behind whatever stands before it."""
    return medium.true if isinstance(medium, BrokenMedium) else medium


def _put(medium: Medium, views: Sequence[memoryview], offset: int) -> None:
    """Write what was acknowledged long ago.  Raises: OSError, of the true medium alone."""
    if isinstance(medium, BrokenMedium):
        medium.put(views, offset)
    else:
        medium.write(views, offset)


@dataclass(frozen=True)
class _Decided:
    """Of a request that waits: its operation, offset and size; whether the fault fires on it, and
    until when it waits here."""

    request: tuple[str, int, int]
    hit: bool
    ready: float = 0.0


class BrokenMedium:
    """A medium that a fault stands before.

    Attributes:
        medium: what is behind us; changes when another fault comes between, or goes.
        true: the one that blkback has opened.
        closed: whether blkback is done with it.
    """

    direct = False

    def __init__(self, medium: Medium, fault: Fault) -> None:
        settings = fault.settings
        self.medium = medium
        self.true: Final = true_of(medium)
        self.closed = False
        self._fault = fault
        self._media: Final = str(settings["media"])
        self._op = settings.get("op")
        self._sectors = settings.get("sector")
        self._delay = settings.get("by", [0.1, 0.1])
        self._decided: _Decided | None = None
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
        self.closed = True
        self.mend()
        self.medium.close()

    def put(self, views: Sequence[memoryview], offset: int) -> None:
        """As `_put`: it is no request, and nothing is broken of it."""
        _put(self.medium, views, offset)

    # -- requests ------------------------------------------------------------------------------

    def read(self, views: Sequence[memoryview], offset: int) -> None:
        """As `Medium.read`."""
        request = "read", offset, _size(views)
        hit = self._hits(*request)
        if hit and self._media == "eio":
            raise self._refused("read", offset, errno.EIO)
        if hit and self._media == "slow":
            self._dawdle(request)
        self._pass(request, hit, self.medium.read, views, offset)
        if hit and self._media == "flip":
            self._flip(views, offset)

    def write(self, views: Sequence[memoryview], offset: int) -> None:
        """As `Medium.write`."""
        request = "write", offset, _size(views)
        hit = self._hits(*request)
        if not hit:
            self._pass(request, hit, self.medium.write, views, offset)
        elif self._media == "eio":
            raise self._refused("write", offset, errno.EIO)
        elif self._media == "full":
            raise self._refused("write", offset, errno.ENOSPC)
        elif self._media == "slow":
            self._dawdle(request)
        else:  # short, torn
            some = _first_half(views)
            if some:
                self._pass(request, hit, self.medium.write, some, offset)
            written = _size(some) // SECTOR_SIZE
            text = f"write at sector {offset // SECTOR_SIZE}: {written} sectors of it written"
            if self._media == "short":
                self._fault.told(f"{text}, then EIO")
                raise OSError(errno.EIO, os.strerror(errno.EIO), self.path)
            self._fault.told(f"{text}, and acknowledged")

    def flush(self) -> None:
        """As `Medium.flush`."""
        self._may_fail("flush", 0, 0)
        self._pass(("flush", 0, 0), False, self.medium.flush)

    def discard(self, offset: int, length: int) -> None:
        """As `Medium.discard`."""
        self._may_fail("discard", offset, length)
        self._pass(("discard", offset, length), False, self.medium.discard, offset, length)

    # -- inside --------------------------------------------------------------------------------

    def _may_fail(self, op: str, offset: int, size: int) -> None:
        if self._hits(op, offset, size):
            if self._media == "eio":
                raise self._refused(op, offset, errno.EIO)
            self._dawdle((op, offset, size))

    def _hits(self, op: str, offset: int, size: int) -> bool:
        """Whether the fault fires on this request.  Raises: Busy, for one that waits."""
        decided, self._decided = self._decided, None
        if decided is not None and decided.request == (op, offset, size):  # it is asked once more
            left = decided.ready - self._fault.domain.vcpu.now()
            if left > 0:
                self._decided = decided
                raise Busy(left)
            return decided.hit
        if op != _ONLY.get(self._media, op):
            return False
        if self._op is not None and op != self._op:
            return False
        if self._sectors is not None:
            if op == "flush":
                return False
            first, last = self._sectors
            if offset > last * SECTOR_SIZE or offset + size <= first * SECTOR_SIZE:
                return False
        return self._fault.fires()

    def _pass(
        self, request: tuple[str, int, int], hit: bool, do: Callable[..., None], *args: object
    ) -> None:
        """Have it done behind us; one that has to wait there is decided here already."""
        try:
            do(*args)
        except Busy:
            self._decided = _Decided(request, hit)
            raise

    def _refused(self, op: str, offset: int, number: int) -> OSError:
        self._fault.told(f"{op} at sector {offset // SECTOR_SIZE}: {errno.errorcode[number]}")
        return OSError(number, os.strerror(number), self.path)

    def _dawdle(self, request: tuple[str, int, int]) -> None:
        """Let this request, on which the fault has fired, wait.  Raises: Busy."""
        op, offset, _ = request
        least, most = self._delay
        seconds = least + (most - least) * self._fault.dice.random()
        self._decided = _Decided(request, False, self._fault.domain.vcpu.now() + seconds)
        self._fault.told(f"{op} at sector {offset // SECTOR_SIZE}: {seconds * 1000:g} ms late")
        raise Busy(seconds)

    def _flip(self, views: Sequence[memoryview], offset: int) -> None:
        dice = self._fault.dice
        view = views[dice.randrange(len(views))]
        at, bit = dice.randrange(view.nbytes), dice.randrange(8)
        view[at] ^= 1 << bit
        self._fault.told(f"read at sector {offset // SECTOR_SIZE}: a bit flipped")


def _size(views: Sequence[memoryview]) -> int:
    return sum(view.nbytes for view in views)


def _first_half(views: Sequence[memoryview]) -> list[memoryview]:
    """The first sectors only, at least one less than all."""
    left, some = _size(views) // SECTOR_SIZE // 2 * SECTOR_SIZE, []
    for view in views:
        if left:
            some.append(view[:left])
            left -= some[-1].nbytes
    return some


class LosesFlushes(BrokenMedium):
    """A medium with a cache that a flush does not empty: what it holds back is read again, written
    when the rule or the disk goes, and lost with the process."""

    def __init__(self, medium: Medium, fault: Fault) -> None:
        super().__init__(medium, fault)
        self._held: dict[int, bytes] = {}

    def read(self, views: Sequence[memoryview], offset: int) -> None:
        """As `Medium.read`, with what is held back on top."""
        self.medium.read(views, offset)
        sector = offset // SECTOR_SIZE
        for view in views:
            for at in range(0, view.nbytes, SECTOR_SIZE):
                held = self._held.get(sector)
                if held is not None:
                    view[at : at + SECTOR_SIZE] = held
                sector += 1

    def write(self, views: Sequence[memoryview], offset: int) -> None:
        """Hold it back."""
        self.put(views, offset)

    def put(self, views: Sequence[memoryview], offset: int) -> None:
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
        if self._hits("flush", 0, 0):
            self._fault.told(f"flush acknowledged, {len(self._held)} sectors held back")
            return
        self._spill(0)
        self._pass(("flush", 0, 0), False, self.medium.flush)

    def discard(self, offset: int, length: int) -> None:
        """As `Medium.discard`; one that fails loses nothing."""
        self.medium.discard(offset, length)
        for sector in range(offset // SECTOR_SIZE, (offset + length) // SECTOR_SIZE):
            self._held.pop(sector, None)

    def mend(self) -> None:
        """Write what is held back; what cannot be written is lost."""
        try:
            self._spill(0)
        except OSError as failed:
            lost = len(self._held)
            self._held.clear()
            self._fault.domain.log(f"{self.path}: {lost} sectors held back are lost: {failed}")

    def _spill(self, keep: int) -> None:
        """Raises: OSError, and holds what it could not write."""
        while len(self._held) > keep:
            sector, data = next(iter(self._held.items()))
            _put(self.medium, [memoryview(data)], sector * SECTOR_SIZE)
            del self._held[sector]
