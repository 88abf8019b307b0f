"""The hotplug script of disks that dom0 serves: /etc/xen/scripts/block, in this process.

It has a store connection of its own, named SCRIPT in the trace, and leaves the same nodes.  There
is no loop device: ``node`` is the image itself.
"""

import errno
import os
from typing import Final

from hvsim.drivers.block.hotplug import HotplugError, prepare
from hvsim.toolstack.context import Toolstack
from hvsim.toolstack.errors import ToolstackError, libxl
from hvsim.toolstack.layout import BLOCK_SCRIPT, Device, domain_path, write

_LOOKED_AT: Final = {"vbd": ("type", "params", "mode", "node"), "vif": ("vifname", "ip", "bridge")}
"""What the script of a device that goes reads."""


def needed(device: Device) -> bool:
    """Whether a device has a script that runs here: in a driver domain it runs there, and QEMU
    opens its images itself."""
    return device.backend_domid == 0 and device.backend_kind != "qdisk"


async def add(toolstack: Toolstack, device: Device) -> None:
    """Make the image of a new disk available.

    Raises: ToolstackError with libxl's words; hotplug-error and hotplug-status say it as well.
    """
    base = device.backend
    async with toolstack.store("SCRIPT") as store:
        keys = ("type", "params", "mode", "physical-device", "frontend-id")
        _, params, mode, _, _ = await store.read_many(f"{base}/{key}" for key in keys)
        state = (await store.read_many([f"{domain_path(device.domid)}/vm", f"{base}/state"]))[1]
        try:
            if state not in ("1", "2"):
                raise HotplugError(
                    "Path closed or removed during hotplug add: "
                    f"{_relative(device)} state: {state or 'unknown'}"
                )
            attached = prepare(params or "", mode or "w")
        except HotplugError as failed:
            await store.batch(
                [
                    *write(f"{base}/hotplug-error", str(failed)),
                    *write(f"{base}/hotplug-status", "error"),
                ]
            )
            raise ToolstackError(
                libxl(
                    "libxl_exec.c:117:libxl_report_child_exitstatus: "
                    f"{BLOCK_SCRIPT} add [{os.getpid()}] exited with error status 1"
                ),
                libxl(f"libxl_device.c:1337:device_hotplug_child_death_cb: script: {failed}"),
            ) from None
        batch = [
            request for key, value in attached.writes() for request in write(f"{base}/{key}", value)
        ]
        for result in await store.batch(batch):
            if isinstance(result, OSError) and result.errno != errno.ENOENT:
                raise result


async def remove(toolstack: Toolstack, device: Device) -> None:
    """The script of a device that goes: there is nothing to release, as there is no loop device,
    and dom0's backend takes its link out of the bridge itself."""
    async with toolstack.store("SCRIPT") as store:
        keys = _LOOKED_AT[device.kind]
        await store.read_many(f"{device.backend}/{key}" for key in keys)


def _relative(device: Device) -> str:
    return device.backend.removeprefix(f"{domain_path(device.backend_domid)}/")
