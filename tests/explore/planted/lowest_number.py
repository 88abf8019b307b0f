"""No bug: a toolstack that gives a new domain the lowest number that is free, as Xen lets it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hvsim.abi.domctl import XEN_DOMCTL_createdomain
from hvsim.domain.injection import Fault
from hvsim.faults.inject.swap import swap
from hvsim.toolstack.host.hypervisor import Hypervisor


def stand(_fault: Fault) -> Callable[[], None]:
    """In the toolstack."""
    domctl = Hypervisor._domctl

    def lowest(hypervisor: Hypervisor, cmd: int, *args: Any) -> list[Any]:
        if cmd == XEN_DOMCTL_createdomain:
            taken = {one.domid for one in hypervisor.domains()}
            free = next(number for number in range(1, 1000) if number not in taken)
            args = ({**args[0], "domid": free}, *args[1:])
        return domctl(hypervisor, cmd, *args)

    return swap((Hypervisor, "_domctl", lowest))
