"""The end of a device, with libxl's steps, waits and words (libxl_device.c), the same for each."""

from enum import Enum
from typing import Final

import anyio

from hvsim.toolstack.devices import backend as backends
from hvsim.toolstack.devices import hotplug, nodes
from hvsim.toolstack.devices.device_type import DeviceType
from hvsim.toolstack.host import libxl_log
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.device import Device
from hvsim.toolstack.host.errors import ToolstackError, libxl
from hvsim.toolstack.host.store import Store, remove_with_empty_parents
from hvsim.toolstack.host.waiting import Other, Party, Several

DESTROY_TIMEOUT: Final = 10.0
"""Seconds that a device has to close (LIBXL_DESTROY_TIMEOUT)."""

INITIALISING: Final = "1"
CLOSED: Final = "6"


class Force(Enum):
    """Whether a device is taken from a domain that does not let go of it (libxl__force)."""

    OFF = "no"
    AUTO = "when it did not within ten seconds"
    ON = "at once"


async def detach(
    toolstack: Toolstack, store: Store, kind: DeviceType, device: Device, force: Force, failed: str
) -> list[str]:
    """``xl block-detach`` and its like; returns what libxl has to say about it.

    Args:
        failed: xl's word when the device does not close in time.

    Raises: ToolstackError in xl's words, exit code 1.
    """
    # One that has begun is carried to its end: half of a device is of no use.
    with anyio.CancelScope(shield=True), toolstack.changing(device):
        said = await remove(toolstack, store, kind, device, failed, force)
    guest = toolstack.guest(device.domid)
    gone = None if guest is None else guest.of(device.kind).pop(device.devid, None)
    if gone is None or gone.half.image is not None:
        toolstack.images.release(device.domid, device.devid)
    return said


async def remove(
    toolstack: Toolstack, store: Store, kind: DeviceType, device: Device, failed: str, force: Force
) -> list[str]:
    """The end of a device of a guest that runs; returns what libxl says about it.

    Raises: ToolstackError, which ends with *failed*, when the backend does not close in time.
    """
    if await store.read(f"{device.backend}/state") is None:
        await forget(store, device)
        return [
            libxl(
                "libxl_device.c:1067:libxl__initiate_device_generic_remove: backend "
                f"{device.backend} already removed, cleanup frontend only",
                "info",
            )
        ]
    if await backends.strange(store, device) is not None or await _not_begun(store, device):
        await forget(store, device)
        return []
    try:
        await _close(store, device, force)
    except TimeoutError:
        where = f"Domain {device.domid}:"
        raise ToolstackError(
            libxl(
                f"libxl_device.c:1181:device_backend_callback: {where}unable to remove device "
                f"with path {device.backend}"
            ),
            libxl(
                f"libxl_device.c:1481:device_addrm_aocomplete: {where}Unable to remove "
                f"{device.kind} with id {device.devid}"
            ),
            *backends.closing_trouble(toolstack, device),
            failed,
        ) from None
    try:
        await hotplug.remove(toolstack, kind, device)
    except ToolstackError as error:
        raise ToolstackError(*error.lines, failed) from None
    await forget(store, device)
    return []


async def _close(store: Store, device: Device, force: Force) -> None:
    """Raises: TimeoutError."""
    both = Several((backends.party(device), Other(device.domid)))
    await begin_close(store, device, frontend_first=force is Force.ON)
    try:
        await wait_closed(store, device, both)
    except TimeoutError:
        if force is not Force.AUTO:
            raise
        where = "libxl_device.c:1174:device_backend_callback"
        await libxl_log.debug(where, "Timeout reached, initiating forced remove", device.domid)
        await begin_close(store, device, frontend_first=True)
        await wait_closed(store, device, backends.party(device))


async def _not_begun(store: Store, device: Device) -> bool:
    """Take a device away whose backend has not seen it yet; whether that was so.

    A backend that comes to it later would find it Closing, and leave it alone for ever, as Linux
    does: only what is Initialising is a new device.
    """

    async def take(tx: int) -> bool:
        if await store.read(f"{device.backend}/state", tx) != INITIALISING:
            return False
        await remove_with_empty_parents(store, tx, device.backend)
        return True

    return await store.transaction(take, f"taking {device.backend} away")


async def begin_close(store: Store, device: Device, *, frontend_first: bool = False) -> None:
    """Tell the backend to go; at a destroy the frontend's directory goes first."""

    async def close(tx: int) -> None:
        if frontend_first:
            await remove_with_empty_parents(store, tx, device.frontend)
        state = await store.read(f"{device.backend}/state", tx)
        if state is not None:
            batch = nodes.close(device, connected=state != CLOSED)
            await store.batch([request._replace(tx=tx) for request in batch])

    await store.transaction(close, f"closing {device.backend}")


async def wait_closed(store: Store, device: Device, party: Party) -> None:
    """Wait for the backend to be Closed, or gone; *party* is who has a part in that.

    Raises: TimeoutError after 10 s.
    """
    what = f"the backend of {device.kind} {device.devid} of domain {device.domid} to be Closed"
    await backends.wait_state(store, device, (CLOSED, None), DESTROY_TIMEOUT, what, party)


async def forget(store: Store, device: Device) -> None:
    """Remove every node of a device, and the directories that are empty then."""

    async def remove(tx: int) -> None:
        for path in (device.frontend, device.libxl, device.backend):
            await remove_with_empty_parents(store, tx, path)

    await store.transaction(remove, f"removing {device.libxl}")
