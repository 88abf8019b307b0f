"""The usual hotplug scripts, as a real xl in Domain-0 runs them: asked of the toolstack.

libxl starts /etc/xen/scripts/block or vif-bridge with the device in XENBUS_PATH; in a lab that is a
few lines of shell that ask here (``hvsim/lab/place.py``), so that a disk is made available in one
way, whoever attached it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from hvsim.toolstack.devices import hotplug
from hvsim.toolstack.devices.layout import Device
from hvsim.toolstack.host.errors import ToolstackError

if TYPE_CHECKING:
    from hvsim.toolstack.host.context import Toolstack

_PATH: Final = re.compile(r"backend/(vbd|vif)/([0-9]{1,5})/([0-9]{1,9})")
_ACTIONS: Final = {"vbd": ("add", "remove"), "vif": ("online", "offline")}


async def run(toolstack: Toolstack, request: dict[str, Any]) -> None:
    """Carry out ``action`` for the device at ``path``, in dom0's tree.

    Raises: ToolstackError: no such device or action, or the script's own failure.
    """
    match = _PATH.fullmatch(str(request.get("path")))
    if match is None:
        raise ToolstackError(f"hotplug: XENBUS_PATH is {request.get('path')!r}, no backend's path")
    device = Device(int(match[2]), match[1], int(match[3]), 0)
    action = request.get("action")
    if action not in _ACTIONS[device.kind]:
        raise ToolstackError(f"hotplug: no action {action!r} for a {device.kind}")
    await hotplug.usual(toolstack, device, comes=action in ("add", "online"))
