"""Where the image or device is that a disk's `params` name: what Xen's /etc/xen/scripts/block finds
out.

Shared by the toolstack, which asks for backends in dom0, and by a driver domain (``hotplug``).
There is no loop device below a hvsim backend: `node` is the image itself, and `physical-device` the
device that the image lies on (or is), so that blkback can see that it opens what hotplug looked at.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass


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
    path = path_of(params, mode)
    try:
        path = os.path.realpath(path, strict=True)
        status = os.stat(path)
    except OSError as error:
        raise HotplugError(f"{path} does not exist ({error.strerror}).") from error
    number = number_of(path, status)
    if not os.access(path, os.R_OK if mode == "r" else os.R_OK | os.W_OK):
        raise HotplugError(f"{path} may not be opened for mode {mode}.")
    return attached(path, number)


def path_of(params: str, mode: str) -> str:
    """What *params* names.  Raises: HotplugError."""
    path = params.removeprefix("file:").removeprefix("phy:")
    if not path:
        raise HotplugError("no image is named: params is empty")
    if mode not in ("r", "w", "w!"):
        raise HotplugError(f"{path}: unknown mode {mode!r}")
    return path if os.path.isabs(path) else f"/dev/{path}"


def number_of(path: str, status: os.stat_result) -> int:
    """The device that is meant by a file.  Raises: HotplugError."""
    if stat.S_ISBLK(status.st_mode):
        return status.st_rdev
    if stat.S_ISREG(status.st_mode):
        return status.st_dev
    raise HotplugError(f"{path} is neither a file nor a block device.")


def attached(path: str, number: int) -> Attached:
    return Attached(path, f"{os.major(number):x}:{os.minor(number):x}", path)
