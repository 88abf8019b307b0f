"""The usual hotplug scripts, as a real xl in Domain-0 runs them: asked of the toolstack.

libxl starts /etc/xen/scripts/block or vif-bridge with the device in XENBUS_PATH; in a lab that is a
few lines of shell that ask here (``hvsim/lab/place.py``), so that a disk is made available in one
way, whoever attached it.
"""

import re
from typing import Final

from hvsim.toolstack.devices import hotplug, types
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.device import Device
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.wire.lab_requests import Hotplug

_PATH: Final = re.compile(r"backend/([a-z][a-z0-9-]*)/([0-9]{1,5})/([0-9]{1,9})")


async def run(toolstack: Toolstack, request: Hotplug) -> None:
    """Carry out ``action`` for the device at ``path``, in dom0's tree.

    Raises: ToolstackError: no such device or action, or the script's own failure.
    """
    match = _PATH.fullmatch(request.path)
    kind = types.of(toolstack, match[1]) if match is not None else None
    if match is None or kind is None or kind.script is None:
        raise ToolstackError(f"hotplug: XENBUS_PATH is {request.path!r}, no backend's path")
    device = Device(int(match[2]), match[1], int(match[3]), 0)
    action = request.action
    if action not in kind.script.actions:
        raise ToolstackError(f"hotplug: no action {action!r} for a {device.kind}")
    comes = action == kind.script.actions[0]
    await hotplug.usual(toolstack, kind.script, device, comes=comes)
