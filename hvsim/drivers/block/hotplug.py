"""From `params` to a device: what Xen's hotplug script /etc/xen/scripts/block does.

The pure part is in ``prepare``; here is what a driver domain does, where nobody else may: the files
are there.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from hvsim.drivers.block.front import BlockFront
from hvsim.drivers.block.prepare import (
    Attached,
    HotplugError,
    attached,
    number_of,
    path_of,
)
from hvsim.drivers.block.protocol import BlockClosed
from hvsim.drivers.block.sources import borrow, own_disk
from hvsim.drivers.split import devd
from hvsim.errors import TimedOut
from hvsim.names.vdev import device_number
from hvsim.xs.client import StoreNotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from hvsim.domain import Domain
    from hvsim.domain.xenbus.device import BackendDevice

SCRIPT: Final = "/etc/xen/scripts/block"
"""What is done here; another script of a disk's is run by whoever made the disk."""


def prepare_inside(dom: Domain, params: str, mode: str) -> Attached:
    """As ``prepare`` in a driver domain: what *params* names may be a disk of its own, a file
    that it sees, or one that dom0 lends it.  It is opened, as behind walls a look is no proof.

    Raises: HotplugError.
    """
    path = path_of(params, mode)
    disk = own_disk(dom, path)
    if disk is not None:
        return attached(path, device_number(disk.vdev))
    readonly = mode == "r"
    flags = os.O_RDONLY if readonly else os.O_RDWR
    try:
        real = os.path.realpath(path)
        fd = os.open(real, flags | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as hidden:
        try:
            real, fd = path, borrow(dom, path, readonly)
        except OSError:
            what = "does not exist" if hidden.errno == errno.ENOENT else "cannot be opened"
            where = f"in domain {dom.domid}"
            raise HotplugError(f"{path} {what} {where} ({hidden.strerror}).") from None
    try:
        return attached(real, number_of(real, os.fstat(fd)))
    finally:
        os.close(fd)


def own_disks(dom: Domain, timeout: float = 30.0) -> None:
    """Connect the virtual disks that a driver domain was born with: it may be told to serve them.

    One that does not connect in time, or is closed again, is one that it cannot serve.
    """
    BlockFront.register(dom)
    try:
        names = dom.store.directory("device/vbd")
    except StoreNotFound:
        return
    for name in names:
        try:
            BlockFront.open(dom, name, timeout)
        except (TimedOut, BlockClosed) as failure:
            dom.log(f"an own disk that cannot be served to others: {failure}")


def script(dom: Domain) -> Callable[[BackendDevice], None]:
    """The hotplug part of `xl devd`, for the blkback of a driver domain: what follows InitWait."""

    def run(device: BackendDevice) -> None:
        if device.read("script") in (None, SCRIPT):
            devd.hotplug(device, lambda: _add(dom, device))

    return run


def _add(dom: Domain, device: BackendDevice) -> None:
    params, mode = device.read_many(["params", "mode"])
    try:
        found = prepare_inside(dom, params or "", mode or "w")
    except HotplugError as failed:
        # As on a real host: the toolstack does not see this; the device stays at InitWait.
        device.write("hotplug-error", str(failed))
        device.write("hotplug-status", "error")
        dom.log(f"{device.nodename}: hotplug: {failed}")
        return
    for key, value in found.writes():
        device.write(key, value)
