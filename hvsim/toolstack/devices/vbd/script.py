"""/etc/xen/scripts/block, as this toolstack carries it out: there is no loop device, ``node`` is
the image itself."""

import errno
import os
from typing import Final

from hvsim.drivers.block.prepare import HotplugError, prepare
from hvsim.toolstack.devices.device_type import UsualScript
from hvsim.toolstack.devices.scripts import failed
from hvsim.toolstack.devices.vbd.half import SCRIPT
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.device import Device
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.nodes import domain_path, write


async def add(toolstack: Toolstack, device: Device) -> None:
    """Make the image of a new disk available.  Raises: ToolstackError in libxl's words."""
    base = device.backend
    async with toolstack.store("SCRIPT") as store:
        keys = ("type", "params", "mode", "physical-device", "frontend-id")
        _, params, mode, _, _ = await store.read_many(f"{base}/{key}" for key in keys)
        state = (await store.read_many([f"{domain_path(device.domid)}/vm", f"{base}/state"]))[1]
        try:
            if state not in ("1", "2"):
                raise HotplugError(
                    "Path closed or removed during hotplug add: "
                    f"{device.relative_backend} state: {state or 'unknown'}"
                )
            attached = prepare(params or "", mode or "w")
        except HotplugError as failure:
            await store.batch(
                [
                    *write(f"{base}/hotplug-error", str(failure)),
                    *write(f"{base}/hotplug-status", "error"),
                ]
            )
            raise ToolstackError(*failed(f"{SCRIPT} add", os.getpid(), 1, str(failure))) from None
        batch = [
            request for key, value in attached.writes() for request in write(f"{base}/{key}", value)
        ]
        for result in await store.batch(batch):
            if isinstance(result, OSError) and result.errno != errno.ENOENT:
                raise result


BLOCK: Final = UsualScript(
    path=SCRIPT,
    actions=("add", "remove"),
    looked_at=("type", "params", "mode", "node"),
    comes=add,
    before=("libxl_linux.c:194:libxl__hotplug_disk", "Args and environment ready"),
    after=(
        "libxl_linux.c:211:libxl__get_hotplug_script_info",
        "num_exec 1, not running hotplug scripts",
    ),
    holds=True,
)
