"""The frontends of a driver domain that has died are sent to the one in its place."""

from collections.abc import Iterable
from dataclasses import replace

from hvsim.toolstack.devices import hotplug, lending, types
from hvsim.toolstack.devices.attached import keep_devices
from hvsim.toolstack.devices.move import Served, move, still_there
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.guest import Guest


async def hand_over(toolstack: Toolstack, served: Iterable[Served], guest: Guest) -> None:
    """Send the frontends of a dead domain to *guest*.  Raises: StoreError, HypercallError."""
    async with toolstack.store() as store:
        for owner, attached in still_there(toolstack, served):
            new = replace(attached.device, backend_domid=guest.domid)
            lending.lend(toolstack, new, attached.half)
            await move(store, owner, attached, guest.domid)
            kind = types.of(toolstack, attached.device.kind)
            if kind is not None:
                await hotplug.elsewhere(toolstack, kind, attached.device, attached.half)
            await keep_devices(toolstack, owner, [attached])
