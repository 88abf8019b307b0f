"""/etc/xen/scripts/vif-bridge, as this toolstack carries it out: the link itself is plugged in by
the backend when it hears that this is done."""

import errno
import os
from collections.abc import Mapping
from typing import Final

from hvsim.toolstack.devices.device_type import UsualScript
from hvsim.toolstack.devices.scripts import failed
from hvsim.toolstack.devices.vif.half import DEFAULT_MTU, SCRIPT
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.device import Device
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.nodes import write


async def online(toolstack: Toolstack, device: Device) -> None:
    """Say that the link is plugged in.  What the backend could not do with it stands in the store
    by now.  Raises: ToolstackError in libxl's words."""
    base = device.backend
    async with toolstack.store("SCRIPT") as store:
        keys = ("vifname", "ip", "bridge", "mtu", "hotplug-status", "hotplug-error")
        _, _, _, mtu, status, error = await store.read_many(f"{base}/{key}" for key in keys)
        if status == "error":
            raise ToolstackError(*failed(f"{SCRIPT} online", os.getpid(), 1, error or ""))
        batch = write(f"{device.frontend}/mtu", mtu or DEFAULT_MTU)
        batch += write(f"{base}/hotplug-status", "connected")
        for result in await store.batch(batch):
            if isinstance(result, OSError) and result.errno != errno.ENOENT:
                raise result


def _environment(device: Device, netdev: str | None) -> Mapping[str, str]:
    return {"netdev": netdev or "", "vif": f"vif{device.domid}.{device.devid}"}


VIF_BRIDGE: Final = UsualScript(
    path=SCRIPT,
    actions=("online", "offline"),
    looked_at=("vifname", "ip", "bridge"),
    comes=online,
    words=("type_if=vif",),
    environment=_environment,
    networked=True,
)
