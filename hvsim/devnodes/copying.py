"""GRANT_COPY: between pages of other domains and a program's memory.

The hypervisor copies between domains, and we between our own pages and the program's: a segment
that names an address goes through a page of a small extent of ours.

Source: Linux drivers/xen/gntdev.c (gntdev_ioctl_grant_copy, gntdev_grant_copy_seg).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from hvsim.abi import devices as abi
from hvsim.abi.grant_table import GNTCOPY_dest_gref, GNTCOPY_source_gref, GNTST_okay
from hvsim.abi.hypercall import DOMID_SELF
from hvsim.abi.memory import PAGE_SIZE
from hvsim.devnodes.caller import Caller
from hvsim.domain.memory import Extent

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain

BOUNCE_PAGES: Final = 32


class Segment(NamedTuple):
    """One copy; *source* and *dest* are addresses, or packed references as the flags say."""

    source: int
    dest: int
    length: int
    flags: int


class _Part(NamedTuple):
    """As much of a segment as fits one page."""

    number: int
    done: int
    length: int


class Copier:
    """Copies segments, some pages at a time.  Its extent is made at the first use."""

    def __init__(self, dom: Domain) -> None:
        self._dom = dom
        self._extent: Extent | None = None

    def close(self) -> None:
        """Give the extent back."""
        if self._extent is not None:
            self._dom.memory.free(self._extent)
            self._extent = None

    def copy(self, caller: Caller, segments: list[Segment]) -> list[int]:
        """A GNTST_* status for each segment.

        Raises: OSError: EFAULT for an address where nothing is, ENOMEM.
        """
        if self._extent is None:
            self._extent = self._dom.memory.allocate(BOUNCE_PAGES)
        statuses = [GNTST_okay] * len(segments)
        batch: list[_Part] = []
        for number, segment in enumerate(segments):
            done = 0
            while done < segment.length:
                length = min(segment.length - done, PAGE_SIZE)
                batch.append(_Part(number, done, length))
                done += length
                if len(batch) == BOUNCE_PAGES:
                    self._flush(caller, segments, batch, statuses)
                    batch = []
        if batch:
            self._flush(caller, segments, batch, statuses)
        return statuses

    def _flush(
        self, caller: Caller, segments: list[Segment], batch: list[_Part], statuses: list[int]
    ) -> None:
        assert self._extent is not None
        operations: list[tuple[int | bool, ...]] = []
        asked: list[tuple[int, _Part]] = []
        for page, part in enumerate(batch):
            segment = segments[part.number]
            own = (DOMID_SELF, False, self._extent.gfn(page), 0)
            source = _side(segment.source, segment.flags & GNTCOPY_source_gref, part, own)
            dest = _side(segment.dest, segment.flags & GNTCOPY_dest_gref, part, own)
            if source is own:
                data = caller.read(segment.source + part.done, part.length)
                self._extent.page(page)[: part.length] = data
                if dest is own:
                    caller.write(segment.dest + part.done, data)
                    continue
            operations.append((*source, *dest, part.length))
            asked.append((page, part))
        results = self._dom.mapper.copy(operations) if operations else []
        for (page, part), status in zip(asked, results, strict=True):
            segment = segments[part.number]
            if status != GNTST_okay:
                if statuses[part.number] == GNTST_okay:
                    statuses[part.number] = status
            elif not segment.flags & GNTCOPY_dest_gref:
                data = bytes(self._extent.page(page)[: part.length])
                caller.write(segment.dest + part.done, data)


def _side(
    word: int, granted: int, part: _Part, own: tuple[int, bool, int, int]
) -> tuple[int, bool, int, int]:
    if not granted:
        return own
    ref, offset, domid = abi.GNTDEV_FOREIGN.unpack(word.to_bytes(8, "little"))
    return domid, True, ref, offset + part.done
