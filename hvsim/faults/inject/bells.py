"""Faults of a device's doorbells: its halves name their ports, the hypervisor breaks them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hvsim.domain.seams import PORT

if TYPE_CHECKING:
    from hvsim.domain.injection import Fault
    from hvsim.domain.xenbus.device import Device


def stand(fault: Fault) -> Callable[[], None]:
    """Have *fault* cover each port of the devices that it is about.

    Raises: ValueError for a console, whose event channel is no device's.
    """
    if fault.settings.get("type") == "console":
        raise ValueError('a console has no ports of its own here; break "xenconsoled <-> DOMAIN"')

    def layer(port: int, device: Device) -> int:
        if fault.is_about(device):
            fault.covers(port)
        return port

    return fault.domain.seams.insert(PORT, layer)
