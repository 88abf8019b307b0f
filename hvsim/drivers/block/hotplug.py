"""From `params` to a device: what Xen's hotplug script /etc/xen/scripts/block does.

`prepare` is the pure part, shared by the toolstack (which runs it for backends in dom0) and by a
driver domain, where nobody else may: the files are there.  There is no loop device below a
hvsim backend: `node` is the image itself, and `physical-device` the device that the image lies
on (or is), so that blkback can see that it opens what hotplug looked at.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hvsim.drivers.block.back import BlockBack

if TYPE_CHECKING:
    from hvsim.domain.xenbus.device import BackendDevice


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
    path = params.removeprefix("file:").removeprefix("phy:")
    if not path:
        raise HotplugError("no image is named: params is empty")
    if not os.path.isabs(path):
        path = f"/dev/{path}"
    try:
        path = os.path.realpath(path, strict=True)
        status = os.stat(path)
    except OSError as error:
        raise HotplugError(f"{path} does not exist ({error.strerror}).") from error
    if stat.S_ISBLK(status.st_mode):
        number = status.st_rdev
    elif stat.S_ISREG(status.st_mode):
        number = status.st_dev
    else:
        raise HotplugError(f"{path} is neither a file nor a block device.")
    if mode not in ("r", "w", "w!"):
        raise HotplugError(f"{path}: unknown mode {mode!r}")
    if not os.access(path, os.R_OK if mode == "r" else os.R_OK | os.W_OK):
        raise HotplugError(f"{path} may not be opened for mode {mode}.")
    return Attached(path, f"{os.major(number):x}:{os.minor(number):x}", path)


class HotplugBlockBack(BlockBack):
    """blkback with the hotplug part of `xl devd` beside it, for a driver domain."""

    def probe(self, device: BackendDevice) -> None:
        """As blkback; then, from InitWait, the hotplug script."""
        super().probe(device)
        params, mode = device.read_many(["params", "mode"])
        try:
            attached = prepare(params or "", mode or "w")
        except HotplugError as failed:
            # As on a real host: the toolstack does not see this; the device stays at InitWait.
            device.write("hotplug-error", str(failed))
            device.write("hotplug-status", "error")
            self._dom.log(f"{device.nodename}: hotplug: {failed}")
            return
        for key, value in attached.writes():
            device.write(key, value)
