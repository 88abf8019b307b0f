"""/dev/xen/gntdev: a program maps pages that other domains granted to its own.

A *map* is a list of grants that a file has been told (MAP_GRANT_REF); its pages are mapped by
mmap, once.  It lives while it is listed or mapped; at its end the peer is told, as asked for.

Source: Linux drivers/xen/gntdev.c.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

from hvsim.abi import devices as abi
from hvsim.abi.grant_table import GNTCOPY_dest_gref, GNTCOPY_source_gref
from hvsim.abi.memory import PAGE_MASK, PAGE_SHIFT, PAGE_SIZE
from hvsim.devnodes.copying import Copier, Segment
from hvsim.devnodes.node import GNTDEV, Area, Ioctl, NodeFile, Result
from hvsim.devnodes.ports import Ports
from hvsim.domain.mapper import GrantError, Mapping

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain

LIMIT: Final = 4096
"""Grants of one map.  Linux has 65536, a parameter of its module."""
MAX_LISTED: Final = 16384
"""Grants in all maps of one file."""


@dataclass(slots=True)
class Notify:
    """What the peer is told at the end: a byte set to 0, an event."""

    address: int = 0
    action: int = 0
    port: int | None = None


class GrantMap:
    """A list of (domid, reference), and what has become of it."""

    def __init__(self, index: int, grants: list[tuple[int, int]]) -> None:
        self.index = index
        self.grants = grants
        self.readonly = False
        self.listed = True
        self.used = False
        self.mapped = False
        self.notify = Notify()

    @property
    def end(self) -> int:
        """The first page number after it."""
        return self.index + len(self.grants)


class GntdevFile(NodeFile):
    """One open file of the node."""

    kind = GNTDEV

    def __init__(
        self, dom: Domain, on_closed: Callable[[], None], ports: Ports, copier: Copier
    ) -> None:
        super().__init__(dom, on_closed)
        self._registry = ports
        self._copier = copier
        self._maps: list[GrantMap] = []
        self._commands: dict[int, Callable[[Ioctl], Result]] = {
            abi.IOCTL_GNTDEV_MAP_GRANT_REF: self._map_grant_ref,
            abi.IOCTL_GNTDEV_UNMAP_GRANT_REF: self._unmap_grant_ref,
            abi.IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR: self._get_offset,
            abi.IOCTL_GNTDEV_SET_UNMAP_NOTIFY: self._set_notify,
            abi.IOCTL_GNTDEV_GRANT_COPY: self._grant_copy,
        }

    def knows(self, command: int) -> bool:
        return command in self._commands

    def ioctl(self, call: Ioctl) -> Result:
        return self._commands[call.command](call)

    # -- commands -------------------------------------------------------------------------------

    def _map_grant_ref(self, call: Ioctl) -> Result:
        """List grants.  Nothing is checked but the count; a grant that is none is found by mmap."""
        count, pad, *_ = abi.GNTDEV_MAP.unpack(call.data)
        if not 0 < count <= LIMIT:
            raise OSError(errno.EINVAL, f"{count} grants")
        if sum(len(one.grants) for one in self._maps) + count > MAX_LISTED:
            raise OSError(errno.ENOMEM, f"{MAX_LISTED} grants of one file is the limit")
        refs = abi.GNTDEV_MAP.offsets["refs"]
        raw = call.caller.read(call.address + refs, count * abi.GNTDEV_GRANT_REF.size)
        index, position = 0, len(self._maps)
        for number, one in enumerate(self._maps):
            if index + count < one.index:
                position = number
                break
            index = one.end
        grants = list(abi.GNTDEV_GRANT_REF.struct.iter_unpack(raw))
        self._maps.insert(position, GrantMap(index, grants))
        out = abi.GNTDEV_MAP.pack(count, pad, index << PAGE_SHIFT, 0, 0)[:refs]
        return Result(out=out)

    def _unmap_grant_ref(self, call: Ioctl) -> Result:
        """Unlist a map; while it is mapped it lives on."""
        offset, count, _ = abi.GNTDEV_UNMAP.unpack(call.data)
        found = self._find(offset >> PAGE_SHIFT, count)
        if found is None:
            raise OSError(errno.ENOENT, "no such map")
        self._maps.remove(found)
        found.listed = False
        self._put(found)
        return Result()

    def _get_offset(self, call: Ioctl) -> Result:
        address, _, _, pad = abi.GNTDEV_GET_OFFSET.unpack(call.data)
        area = call.areas.at(self, address)
        if not isinstance(area, GrantArea):
            raise OSError(errno.EINVAL, "no mapping of this file")
        offset = area.map.index << PAGE_SHIFT
        return Result(out=abi.GNTDEV_GET_OFFSET.pack(address, offset, len(area.map.grants), pad))

    def _set_notify(self, call: Ioctl) -> Result:
        offset, action, port = abi.UNMAP_NOTIFY.unpack(call.data)
        if action & ~(abi.UNMAP_NOTIFY_CLEAR_BYTE | abi.UNMAP_NOTIFY_SEND_EVENT):
            raise OSError(errno.EINVAL, f"actions {action:#x}")
        wants_event = bool(action & abi.UNMAP_NOTIFY_SEND_EVENT)
        if wants_event:
            self._registry.hold(port)
        page = offset >> PAGE_SHIFT
        found = next((one for one in self._maps if one.index <= page < one.end), None)
        if found is None or (action & abi.UNMAP_NOTIFY_CLEAR_BYTE and found.readonly):
            if wants_event:
                self._registry.let_go(port)
            raise OSError(errno.ENOENT if found is None else errno.EINVAL, "no such page")
        before = found.notify.port
        address = offset - (found.index << PAGE_SHIFT)
        found.notify = Notify(address, action, port if wants_event else None)
        if before is not None:
            self._registry.let_go(before)
        return Result()

    def _grant_copy(self, call: Ioctl) -> Result:
        count, where = abi.GNTDEV_COPY.unpack(call.data)
        layout = abi.GNTDEV_COPY_SEGMENT
        raw = call.caller.read(where, count * layout.size)
        segments = [Segment(*row[:4]) for row in layout.struct.iter_unpack(raw)]
        for segment in segments:
            _check_segment(segment)
        statuses = self._copier.copy(call.caller, segments)
        out = bytearray(raw)
        for number, status in enumerate(statuses):
            at = number * layout.size + layout.offsets["status"]
            out[at : at + 2] = (status & 0xFFFF).to_bytes(2, "little")
        call.caller.write(where, bytes(out))
        return Result()

    # -- mapping --------------------------------------------------------------------------------

    def mmap(self, address: int, offset: int, count: int, writable: bool) -> Area:
        found = self._find(offset >> PAGE_SHIFT, count)
        if found is None or found.used:
            raise OSError(errno.EINVAL, "no such map, or mapped before")
        found.used = True
        found.readonly = not writable
        mappings: list[Mapping] = []
        try:
            for domid, group in groupby(found.grants, key=lambda grant: grant[0]):
                refs = [ref for _, ref in group]
                mappings += self.dom.mapper.map_many(domid, refs, not writable)
        except GrantError as refusal:
            self.dom.mapper.unmap_many(mappings)
            raise OSError(errno.EINVAL, str(refusal)) from None
        found.mapped = True
        return GrantArea(self, address, found, mappings)

    def unmapped(self, map_: GrantMap) -> None:
        """The last page of a map was unmapped."""
        map_.mapped = False
        self._put(map_)

    def _put(self, one: GrantMap) -> None:
        """Unlisted or unmapped: at its end the peer hears an event."""
        if not one.listed and not one.mapped and one.notify.port is not None:
            port, one.notify.port = one.notify.port, None
            self._registry.ring(port)
            self._registry.let_go(port)

    def release(self) -> None:
        maps, self._maps = self._maps, []
        for one in maps:
            one.listed = False
            self._put(one)

    def _find(self, index: int, count: int) -> GrantMap | None:
        for one in self._maps:
            if one.index == index and len(one.grants) == count:
                return one
        return None


class GrantArea(Area):
    """The pages of a map in a process."""

    def __init__(
        self, file: GntdevFile, address: int, map_: GrantMap, mappings: list[Mapping]
    ) -> None:
        super().__init__(file, address, len(mappings))
        self.map = map_
        self._file = file
        self._mappings = mappings

    def place(self, index: int) -> tuple[int, int] | None:
        return self._mappings[index].backing

    def page_gone(self, index: int) -> None:
        """End the mapping; the byte in it is cleared first."""
        notify, mapping = self.map.notify, self._mappings[index]
        if notify.action & abi.UNMAP_NOTIFY_CLEAR_BYTE and notify.address >> PAGE_SHIFT == index:
            notify.action &= ~abi.UNMAP_NOTIFY_CLEAR_BYTE
            if not self.map.readonly:
                mapping.view[notify.address & PAGE_MASK] = 0
        mapping.unmap()

    def ended(self) -> None:
        self._file.unmapped(self.map)


def _check_segment(segment: Segment) -> None:
    """A granted page is not crossed.  Raises OSError(EINVAL)."""
    for flag, word in (
        (GNTCOPY_source_gref, segment.source),
        (GNTCOPY_dest_gref, segment.dest),
    ):
        if segment.flags & flag:
            _, offset, _ = abi.GNTDEV_FOREIGN.unpack(word.to_bytes(8, "little"))
            if offset + segment.length > PAGE_SIZE:
                raise OSError(errno.EINVAL, "a segment crosses its page")
