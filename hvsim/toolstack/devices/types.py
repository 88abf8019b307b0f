"""Which kinds of devices there are: the one list of them.

Their order is that of libxl's create and destroy.
"""

from collections.abc import Iterator
from typing import Final

from hvsim.toolstack.config import DomainConfig
from hvsim.toolstack.devices import numbering
from hvsim.toolstack.devices.console import Console
from hvsim.toolstack.devices.declared import Declared
from hvsim.toolstack.devices.device_type import DeviceType
from hvsim.toolstack.devices.vbd.type import DISKS
from hvsim.toolstack.devices.vif.type import INTERFACES
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.refusal import Refusal

CONSOLE: Final = Console()
OF_XEN: Final[tuple[DeviceType, ...]] = (DISKS, CONSOLE, INTERFACES)
"""The kinds that Xen has and this host as well."""


def known(toolstack: Toolstack) -> tuple[DeviceType, ...]:
    """Every kind of this lab: behind those of Xen, those that it declares."""
    return (*OF_XEN, *map(Declared, toolstack.defaults.devices))


def connecting(toolstack: Toolstack) -> list[DeviceType]:
    """Those whose halves connect: that are planned, attached, moved and listed."""
    return [kind for kind in known(toolstack) if kind.has_handshake]


def of(toolstack: Toolstack, name: str) -> DeviceType | None:
    """The kind of that name."""
    return next((kind for kind in known(toolstack) if kind.kind == name), None)


def twice(config: DomainConfig) -> Iterator[Refusal]:
    """Two devices of one kind with one number in a config."""
    return numbering.twice(config, (kind.numbering for kind in OF_XEN if kind.numbering))
