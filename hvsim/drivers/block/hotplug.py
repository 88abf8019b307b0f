"""From `params` to a device: what Xen's hotplug script /etc/xen/scripts/block does.

`prepare` is the pure part, shared by the toolstack (which runs it for backends in dom0) and by a
driver domain, where nobody else may: the files are there.  There is no loop device below a
hvsim backend: `node` is the image itself, and `physical-device` the device that the image lies
on (or is), so that blkback can see that it opens what hotplug looked at.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hvsim.drivers.block.front import BlockFront
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


class HotplugError(Exception):
    """The disk cannot be made available; the text is that of `hotplug-error`."""


@dataclass(frozen=True, slots=True)
class Attached:
    """What hotplug writes into the backend directory, before `hotplug-status` = connected."""

    node: str
    physical_device: str
    physical_device_path: str

    def writes(self) -> list[tuple[str, str]]:
        """Keys and values in the order in which the script writes them."""
        return [
            ("node", self.node),
            ("physical-device", self.physical_device),
            ("physical-device-path", self.physical_device_path),
            ("hotplug-status", "connected"),
        ]


def prepare(params: str, mode: str) -> Attached:
    """Find the image or block device that `params` names, for `mode` r or w.

    Raises: HotplugError, with what is wrong and which path it is.
    """
    path = _path(params, mode)
    try:
        path = os.path.realpath(path, strict=True)
        status = os.stat(path)
    except OSError as error:
        raise HotplugError(f"{path} does not exist ({error.strerror}).") from error
    number = _number(path, status)
    if not os.access(path, os.R_OK if mode == "r" else os.R_OK | os.W_OK):
        raise HotplugError(f"{path} may not be opened for mode {mode}.")
    return _attached(path, number)


def _path(params: str, mode: str) -> str:
    """What *params* names.  Raises: HotplugError."""
    path = params.removeprefix("file:").removeprefix("phy:")
    if not path:
        raise HotplugError("no image is named: params is empty")
    if mode not in ("r", "w", "w!"):
        raise HotplugError(f"{path}: unknown mode {mode!r}")
    return path if os.path.isabs(path) else f"/dev/{path}"


def _number(path: str, status: os.stat_result) -> int:
    """The device that is meant by a file.  Raises: HotplugError."""
    if stat.S_ISBLK(status.st_mode):
        return status.st_rdev
    if stat.S_ISREG(status.st_mode):
        return status.st_dev
    raise HotplugError(f"{path} is neither a file nor a block device.")


def _attached(path: str, number: int) -> Attached:
    return Attached(path, f"{os.major(number):x}:{os.minor(number):x}", path)


def prepare_inside(dom: Domain, params: str, mode: str) -> Attached:
    """As :func:`prepare` in a driver domain: what *params* names may be a disk of its own, a file
    that it sees, or one that dom0 lends it.  It is opened, as behind walls a look is no proof.

    Raises: HotplugError.
    """
    path = _path(params, mode)
    disk = own_disk(dom, path)
    if disk is not None:
        return _attached(path, device_number(disk.vdev))
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
        return _attached(real, _number(real, os.fstat(fd)))
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
        attached = prepare_inside(dom, params or "", mode or "w")
    except HotplugError as failed:
        # As on a real host: the toolstack does not see this; the device stays at InitWait.
        device.write("hotplug-error", str(failed))
        device.write("hotplug-status", "error")
        dom.log(f"{device.nodename}: hotplug: {failed}")
        return
    for key, value in attached.writes():
        device.write(key, value)
