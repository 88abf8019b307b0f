"""The frontends of a driver domain that has died are sent to the one in its place."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from hvsim.toolstack.devices import hotplug, lending, types
from hvsim.toolstack.devices.attached import keep_devices
from hvsim.toolstack.devices.move import move
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.device import Attached
from hvsim.toolstack.host.guest import Guest

Served = tuple[Guest, Attached]
"""A device with the guest that uses it."""


def served_by(toolstack: Toolstack, domid: int) -> Iterator[Served]:
    """Every device that domain *domid* serves."""
    for guest in toolstack.guests.values():
        for attached in guest.devices:
            if attached.device.backend_domid == domid:
                yield guest, attached


def still_there(toolstack: Toolstack, served: Iterable[Served]) -> Iterator[Served]:
    """Those whose guests have not gone meanwhile."""
    return (one for one in served if toolstack.guests.get(one[0].domid) is one[0])


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
