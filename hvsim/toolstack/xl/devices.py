"""What xl's verbs of disks and of interfaces have in common."""

from collections.abc import Awaitable, Callable

from hvsim.toolstack.devices import attach as attaching
from hvsim.toolstack.devices import attached
from hvsim.toolstack.devices import detach as detaching
from hvsim.toolstack.devices.detach import Force
from hvsim.toolstack.devices.device_type import DeviceType
from hvsim.toolstack.host.device import Attached, Device
from hvsim.toolstack.host.guest import Guest
from hvsim.toolstack.host.store import Store
from hvsim.toolstack.xl.command import Call


async def attach(
    call: Call,
    store: Store,
    guest: Guest,
    kind: DeviceType,
    plan: Callable[[], Awaitable[Attached]],
) -> None:
    """Attach what *plan* plans, and note it where libxl does.  Raises: ToolstackError."""
    made = await attaching.attach(call.toolstack, store, guest, kind, plan)
    await attached.keep_devices(call.toolstack, guest, [made])
    call.reply.data = {"devid": made.device.devid, "backend": made.device.backend}


async def detach(
    call: Call, store: Store, kind: DeviceType, device: Device, force: Force, failed: str
) -> None:
    """Detach a device, and note it where libxl does.  Raises: ToolstackError."""
    await attached.refresh(call.toolstack, store)
    guest = call.toolstack.guest(device.domid)
    gone = guest.of(kind.kind).get(device.devid) if guest is not None else None
    said = await detaching.detach(call.toolstack, store, kind, device, force, failed)
    await call.reply.err(*said)
    if guest is not None and gone is not None:
        await attached.keep_devices(call.toolstack, guest, [gone], gone=True)


def number(text: str | None) -> int:
    """A number of a node, -1 for a node that is missing or that a guest filled with nonsense."""
    return int(text) if text is not None and text.isdecimal() and len(text) < 12 else -1
