"""Where a disk's bytes are: a path and a device number, and what a backend opens for them.

Looked at in this order, until one is of the number that hotplug has written: the path as this
domain sees it; a file of that path that dom0 lends this domain; a virtual disk of its own; a block
device of the machine by its number, as Linux' blkback finds it, which needs no path at all.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from hvsim.abi.hypercall import HVSIM_OP_borrow, HYPERVISOR_hvsim_op
from hvsim.domain.hypercall import HypercallError
from hvsim.drivers.block.disk import Disk
from hvsim.drivers.block.front import BlockFront
from hvsim.drivers.block.image import Image, Medium
from hvsim.drivers.block.stacked import StackedImage
from hvsim.names import vdev

if TYPE_CHECKING:
    from hvsim.domain import Domain

_BLOCK_DEVICES: Final = "/dev/block"
"""Block devices by number (udev(7))."""


class WrongDevice(OSError):
    """What was found is another device than the one that is meant."""

    def __init__(self, path: str, number: int) -> None:
        text = f"is not on device {os.major(number):x}:{os.minor(number):x}"
        super().__init__(errno.ENODEV, text, path)


def open_medium(dom: Domain, path: str, number: int, readonly: bool) -> Medium:
    """Open what *path* and *number* stand for.

    Args:
        number: device number; that of a file is of the file system that it lies on.

    Raises: OSError: why the first of the places does not have it.
    """
    first: OSError | None = None
    for find in _places(dom, path, number, readonly):
        try:
            medium = find()
        except OSError as failure:
            first = first or failure
            continue
        if medium.device == number:
            return medium
        medium.close()
        first = first or WrongDevice(path, number)
    assert first is not None, "there is more than one place"
    raise first


def _places(dom: Domain, path: str, number: int, readonly: bool) -> Iterator[Callable[[], Medium]]:
    own = own_disk(dom, path)
    if own is not None:
        yield lambda: StackedImage(path, own, readonly)
    yield lambda: Image(path, readonly)
    if dom.domid:
        yield lambda: Image(path, readonly, borrow(dom, path, readonly))
    minor = os.minor(number)
    for disk in BlockFront.known(dom):
        yield lambda disk=disk: StackedImage(f"vbd {disk.vdev}", disk, readonly)  # type: ignore[misc]
    yield lambda: Image(f"{_BLOCK_DEVICES}/{os.major(number)}:{minor}", readonly)


def own_disk(dom: Domain, path: str) -> Disk | None:
    """The virtual disk of this domain's own that *path* names, ``/dev/xvdb`` say."""
    try:
        number = vdev.of_guest(path)
    except ValueError:
        return None
    return next((disk for disk in BlockFront.known(dom) if disk.vdev == number), None)


def borrow(dom: Domain, path: str, readonly: bool) -> int:
    """A descriptor of a file that dom0 lends this domain.  Raises: OSError."""
    try:
        _, fds = dom.hypercall.call_fds(
            HYPERVISOR_hvsim_op, HVSIM_OP_borrow, path, "r" if readonly else "w"
        )
    except HypercallError as refused:
        number = refused.errno or errno.EIO
        raise OSError(number, os.strerror(number), path) from None
    return fds[0]
