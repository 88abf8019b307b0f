"""A kind of devices that the lab declares: as the toolstack handles it.

It has no hotplug script and no place in libxl's record, which has no words for it; everything else
is as for the kinds that Xen has.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hvsim.names import device as names
from hvsim.toolstack.devices import backend_domain
from hvsim.toolstack.devices.device_type import DeviceType
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.declaration import Declaration
from hvsim.toolstack.host.device import Attached, Device
from hvsim.toolstack.host.guest import Guest
from hvsim.toolstack.host.store import Store
from hvsim.wire.lab_requests import DeclaredDevice


@dataclass(frozen=True, slots=True)
class DeclaredHalf:
    """What the store says of such a device.

    Attributes:
        frontend_keys, backend_keys: what each half has besides what every device has.
    """

    kind: str
    frontend_keys: Mapping[str, str] = field(default_factory=dict)
    backend_keys: Mapping[str, str] = field(default_factory=dict)

    script: str = ""
    named: bool = False

    @property
    def image(self) -> None:
        """It serves no file that the toolstack knows of."""

    def name(self, devid: int) -> str:
        """How a person calls it."""
        return names.label(self.kind, devid)

    def frontend_nodes(self, device: Device) -> list[tuple[str, str]]:
        """The frontend's half."""
        backend = ("backend-id", str(device.backend_domid))
        return [backend, ("state", "1"), *self.frontend_keys.items()]

    def spoken(self) -> list[tuple[str, str]]:
        """Nothing of the frontend's half is the backend's word."""
        return []

    def backend_nodes(self, device: Device) -> list[tuple[str, str]]:
        """The backend's half."""
        frontend = ("frontend-id", str(device.domid))
        return [frontend, ("online", "1"), ("state", "1"), *self.backend_keys.items()]


class Declared(DeviceType):
    """One declared kind."""

    ring_keys = ("ring-ref",)
    noun = "device"

    def __init__(self, declaration: Declaration) -> None:
        self.kind = self.label = declaration.type
        self.keys = declaration.backend_keys

    async def plan(self, toolstack: Toolstack, store: Store, guest: Guest) -> list[Attached]:
        """See DeviceType."""
        mine = [one for one in guest.request.devices if one.type == self.kind and one.there]
        return [await plan(toolstack, store, guest.domid, one) for one in mine]

    def half_of(self, nodes: Mapping[str, str]) -> DeclaredHalf:
        """See DeviceType.  What the frontend was told besides, it has."""
        return DeclaredHalf(self.kind, {}, dict(nodes))

    async def may_attach(self, store: Store, attached: Attached) -> None:
        """See DeviceType."""
        await self.must_be_new(store, attached.device)


async def plan(toolstack: Toolstack, store: Store, domid: int, one: DeclaredDevice) -> Attached:
    """Where a device will stand in the store, and with what.  Raises: ToolstackError."""
    backend = await backend_domain.find(toolstack, store, one.served_by)
    half = DeclaredHalf(one.type, one.frontend_keys, one.backend_keys)
    return Attached(Device(domid, one.type, one.devid, backend), half)
