"""/dev/xen/privcmd: hypercalls of a program, and frames of domains that it has rights over.

DM_OP and MMAP_RESOURCE are unknown, as to a Linux before 4.11; the libraries do without.

Source: Linux drivers/xen/privcmd.c.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from hvsim.abi import devices as abi
from hvsim.abi.hypercall import (
    HVSIM_MEM_get_extent,
    HVSIM_MEM_get_foreign,
    HYPERVISOR_memory_op,
)
from hvsim.abi.memory import PAGE_SHIFT, PAGE_SIZE
from hvsim.devnodes.hypercalls import hypercall
from hvsim.devnodes.node import PRIVCMD, Area, Ioctl, NodeFile, Result
from hvsim.domain.hypercall import HypercallError
from hvsim.wire.typed import read

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain

MAX_FRAMES: Final = 4096
"""Frames of one call (Linux has no limit but memory)."""
MAX_EXTENTS: Final = 128
"""Extents that the frames of one call lie in: a descriptor each."""
_MFN_ERROR: Final = 0xF000_0000
_PAGED_ERROR: Final = 0x8000_0000


class PrivcmdFile(NodeFile):
    """One open file of the node."""

    kind = PRIVCMD

    def __init__(self, dom: Domain, on_closed: Callable[[], None]) -> None:
        super().__init__(dom, on_closed)
        self._restrict: int | None = None
        self._commands: dict[int, Callable[[Ioctl], Result]] = {
            abi.IOCTL_PRIVCMD_HYPERCALL: self._hypercall,
            abi.IOCTL_PRIVCMD_MMAP: self._mmap_frames,
            abi.IOCTL_PRIVCMD_MMAPBATCH: self._mmapbatch,
            abi.IOCTL_PRIVCMD_MMAPBATCH_V2: self._mmapbatch_v2,
            abi.IOCTL_PRIVCMD_RESTRICT: self._set_restrict,
        }

    def knows(self, command: int) -> bool:
        return command in self._commands

    def ioctl(self, call: Ioctl) -> Result:
        return self._commands[call.command](call)

    def mmap(self, address: int, offset: int, count: int, writable: bool) -> Area:
        """Addresses without pages, for MMAPBATCH to fill."""
        return EmptyArea(self, address, count)

    # -- commands -------------------------------------------------------------------------------

    def _hypercall(self, call: Ioctl) -> Result:
        self._allow(None)
        op, *args = abi.PRIVCMD_HYPERCALL.unpack(call.data)
        return Result(hypercall(self.dom, call.caller, op, args))

    def _set_restrict(self, call: Ioctl) -> Result:
        (domid,) = struct.unpack("<H", call.data)
        if self._restrict is None:
            self._restrict = domid
        elif self._restrict != domid:
            raise OSError(errno.EINVAL, f"restricted to d{self._restrict}")
        return Result()

    def _mmapbatch_v2(self, call: Ioctl) -> Result:
        num, dom, address, frames, errors = abi.PRIVCMD_MMAPBATCH_V2.unpack(call.data)
        gfns, area = self._batch(call, num, dom, address, frames)
        told = [-frame.error for frame in area.frames]
        call.caller.write(errors, struct.pack(f"<{len(gfns)}i", *told))
        if any(frame.error == errno.ENOENT for frame in area.frames):
            return Result(-errno.ENOENT, area=area)
        return Result(area=area)

    def _mmapbatch(self, call: Ioctl) -> Result:
        """The old form: errors are told in the top bits of the frames."""
        num, dom, address, frames = abi.PRIVCMD_MMAPBATCH.unpack(call.data)
        gfns, area = self._batch(call, num, dom, address, frames)
        told = [
            gfn | (_PAGED_ERROR if frame.error == errno.ENOENT else _MFN_ERROR)
            if frame.error
            else gfn
            for gfn, frame in zip(gfns, area.frames, strict=True)
        ]
        call.caller.write(frames, struct.pack(f"<{len(told)}Q", *told))
        return Result(area=area)

    def _mmap_frames(self, call: Ioctl) -> Result:
        """The oldest form: runs of frames, all or none."""
        num, dom, entries = abi.PRIVCMD_MMAP.unpack(call.data)
        self._allow(dom)
        if not 0 < num <= MAX_FRAMES:
            raise OSError(errno.EINVAL, f"{num} entries")
        layout = abi.PRIVCMD_MMAP_ENTRY
        raw = call.caller.read(entries, num * layout.size)
        runs = list(layout.struct.iter_unpack(raw))
        address = runs[0][0]
        gfns: list[int] = []
        for va, mfn, count in runs:
            if va != address + len(gfns) * PAGE_SIZE or count > MAX_FRAMES - len(gfns):
                raise OSError(errno.EINVAL, "entries that do not follow each other")
            gfns += range(mfn, mfn + count)
        area = self._place(call, dom, address, gfns)
        for frame in area.frames:
            if frame.error:
                area.unmap(0, area.count)
                raise OSError(frame.error, "a frame cannot be mapped")
        return Result(area=area)

    # -- inside ---------------------------------------------------------------------------------

    def _allow(self, domid: int | None) -> None:
        if self._restrict is not None and domid != self._restrict:
            raise OSError(errno.EPERM, f"restricted to d{self._restrict}")

    def _batch(
        self, call: Ioctl, num: int, dom: int, address: int, frames: int
    ) -> tuple[list[int], ForeignArea]:
        self._allow(dom)
        if not 0 < num <= MAX_FRAMES:
            raise OSError(errno.EINVAL, f"{num} frames")
        raw = call.caller.read(frames, num * 8)
        gfns = [gfn for (gfn,) in struct.iter_unpack("<Q", raw)]
        return gfns, self._place(call, dom, address, gfns)

    def _place(self, call: Ioctl, dom: int, address: int, gfns: list[int]) -> ForeignArea:
        empty = call.areas.at(self, address)
        first = 0 if empty is None else (address - empty.address) >> PAGE_SHIFT
        wanted = set(range(first, first + len(gfns)))
        if empty is None or address % PAGE_SIZE or not wanted <= empty.live:
            raise OSError(errno.EINVAL, "no mapping of this file")
        fetched: list[Fetched] = []
        frames = [self._frame(dom, gfn, fetched) for gfn in gfns]
        return ForeignArea(self, address, frames, [one.fd for one in fetched])

    def _frame(self, dom: int, gfn: int, fetched: list[Fetched]) -> Frame:
        """Where a frame is; the extents that were fetched before are not asked for again."""
        for one in fetched:
            if one.first <= gfn < one.first + one.pages:
                return Frame(0, one.fd, (gfn - one.first) * PAGE_SIZE)
        if gfn >> 52 or len(fetched) >= MAX_EXTENTS:
            return Frame(errno.EINVAL if gfn >> 52 else errno.ENOMEM)
        own = dom == self.dom.domid
        arguments = (HVSIM_MEM_get_extent, gfn) if own else (HVSIM_MEM_get_foreign, dom, gfn)
        try:
            results, fds = self.dom.hypercall.call_fds(HYPERVISOR_memory_op, *arguments)
        except HypercallError as error:
            return Frame(error.errno or errno.EINVAL)
        _, first, count = read(tuple[int, int, int], results)
        fetched.append(Fetched(first, count, fds[0]))
        return Frame(0, fds[0], (gfn - first) * PAGE_SIZE)


class Fetched(NamedTuple):
    """An extent of a domain, with a descriptor of ours."""

    first: int
    pages: int
    fd: int


class Frame:
    """One frame of another domain: an errno, or a descriptor of ours and a byte offset."""

    __slots__ = ("error", "fd", "offset")

    def __init__(self, error: int, fd: int = -1, offset: int = 0) -> None:
        self.error = error
        self.fd = fd
        self.offset = offset


class EmptyArea(Area):
    """Addresses that mmap set aside.  What is laid over them is an area of its own."""


class ForeignArea(Area):
    """Frames laid over addresses that were set aside.

    Their descriptors are kept until the library has mapped them.
    """

    def __init__(self, file: NodeFile, address: int, frames: list[Frame], fds: list[int]) -> None:
        super().__init__(file, address, len(frames))
        self.frames = frames
        self.live = {number for number, frame in enumerate(frames) if not frame.error}
        self._fds = fds

    def place(self, index: int) -> tuple[int, int] | None:
        frame = self.frames[index]
        return None if frame.error or frame.fd not in self._fds else (frame.fd, frame.offset)

    def taken(self) -> list[int]:
        """The library has all pages: the descriptors are the caller's to close."""
        fds, self._fds = self._fds, []
        return fds

    def ended(self) -> None:
        for fd in self.taken():
            os.close(fd)
