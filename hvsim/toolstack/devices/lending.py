"""Files of the machine for a driver domain: those that the disks it is to serve name.

A driver domain sees the images that it was made with.  One that a disk names later is lent to it,
as long as the disk is there, and a frontend of it could be given nothing else.
"""

import contextlib

from hvsim.abi import errno
from hvsim.domain.hypercall import HypercallError
from hvsim.names import vdev
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.device import Device, Half


def lend(toolstack: Toolstack, device: Device, half: Half) -> None:
    """Let the backend of a new disk have the file that the disk names.

    A name that is nothing on this machine may be something in the driver domain, which says so
    itself when it is not.  Raises: HypercallError for anything else.
    """
    path = _file(toolstack, device, half)
    if path is None:
        return
    try:
        toolstack.hypervisor.lend(device.backend_domid, path, _mode(half))
    except HypercallError as refused:
        if refused.errno in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EINVAL):
            return
        raise


def take_back(toolstack: Toolstack, device: Device, half: Half) -> None:
    """The disk goes: nobody is given its file any more, unless another disk names it too."""
    path = _file(toolstack, device, half)
    if path is None:
        return
    for guest in toolstack.guests.values():
        for other in guest.devices:
            same = other.device.backend_domid == device.backend_domid
            if same and other.device != device and _path(other.half) == path:
                return
    with contextlib.suppress(HypercallError):  # the driver domain has gone, with all it was lent
        toolstack.hypervisor.lend(device.backend_domid, path, "")


def _file(toolstack: Toolstack, device: Device, half: Half) -> str | None:
    """The file that is to be lent for a device, if any."""
    path = _path(half)
    if not device.backend_domid or device.backend_kind or not path.startswith("/"):
        return None
    driver = toolstack.guest(device.backend_domid)
    if driver is None or any(str(known) == path for known, _ in driver.request.files):
        return None
    # A virtual disk of the driver domain's own is what is meant by its name, not the machine's.
    own = vdev.parse(path.removeprefix("/dev/")) if path.startswith("/dev/") else None
    return None if own is not None and own in driver.of(device.kind) else path


def _path(half: Half) -> str:
    return half.image.path if half.image is not None else ""


def _mode(half: Half) -> str:
    return "r" if half.image is not None and half.image.readonly else "w"
