"""Attaching and detaching disks, with libxl's steps, waits and words (libxl_device.c)."""

from enum import Enum
from typing import Final

import anyio

from hvsim.names import vdev as vdev_names
from hvsim.names.number import unsigned
from hvsim.toolstack.config import DiskConfig
from hvsim.toolstack.devices import backend as backends
from hvsim.toolstack.devices import device_model, hotplug, lending, quota_hint, scripts
from hvsim.toolstack.devices import layout as device_layout
from hvsim.toolstack.devices.layout import Device, Vbd
from hvsim.toolstack.domain import layout, refusals
from hvsim.toolstack.host import libxl_log
from hvsim.toolstack.host.context import CreateRequest, Disk, Toolstack
from hvsim.toolstack.host.errors import ToolstackError, libxl
from hvsim.toolstack.host.store import Store, remove_with_empty_parents
from hvsim.toolstack.host.waiting import Other, Party, Several

DESTROY_TIMEOUT: Final = 10.0
"""Seconds that a device has to close (LIBXL_DESTROY_TIMEOUT)."""

QDISK: Final = refusals.QDISK
_QEMU_FORMATS: Final = {"raw": "aio"}
"""Formats that have another name before the image's path (libxl__device_disk_string_of_format)."""

INITIALISING: Final = "1"
CLOSED: Final = "6"


async def plan(
    toolstack: Toolstack, store: Store, domid: int, disk: DiskConfig, request: CreateRequest
) -> Disk:
    """Where a disk will stand in the store, and what will stand there.

    Raises: ToolstackError in libxl's words.
    """
    refusal = refusals.disk(disk)
    number, backendtype = vdev_names.parse(disk.vdev), refusals.backendtype(disk)
    if refusal is not None or number is None or disk.target is None:
        assert refusal is not None
        raise refusal.error(domid)
    backend = 0
    if disk.backend is not None:
        found = await toolstack.find(store, disk.backend)
        if found is None or toolstack.hypervisor.info(found) is None:
            raise ToolstackError(*backends.departed(toolstack, disk.backend))
        backend = found
    await log_choice(disk, backend, backendtype or "phy", "unknown")
    target = toolstack.resolve(disk.target, request)
    if backend == 0 and (refusal := refusals.missing(disk, target)) is not None:
        raise refusal.error(domid)
    path = target
    if backendtype == QDISK:
        target = f"{_QEMU_FORMATS.get(disk.format, disk.format)}:{target}"
    vbd = Vbd(
        params=target,
        vdev=disk.vdev,
        readonly=disk.readonly,
        cdrom=disk.cdrom,
        discard=disk.discard is not False,
        shared=disk.shared or path in toolstack.defaults.shared,
        script=scripts.absolute(disk.script) if disk.script else device_layout.BLOCK_SCRIPT,
        named=disk.script is not None,
        backendtype=backendtype or "phy",
        format=disk.format,
    )
    kind = QDISK if backendtype == QDISK else ""
    return Disk(Device(domid, "vbd", number, backend, kind), vbd)


async def log_choice(disk: DiskConfig, backend: int, kind: str, asked: str) -> None:
    """What is to serve a disk."""
    where, start = "libxl__device_disk_set_backend", f"Disk vdev={disk.vdev}"
    await libxl_log.debug(
        f"libxl_device.c:433:{where}", f"{start} spec.backend={asked} specification=xen"
    )
    if backend:
        await libxl_log.debug(
            "libxl_device.c:330:disk_try_backend",
            f"{start}, is using a storage driver domain, skipping physical device check",
        )
    await libxl_log.debug(f"libxl_device.c:470:{where}", f"{start}, using backend {kind}")


async def make(toolstack: Toolstack, store: Store, disk: Disk) -> None:
    """Take the image of a disk, write its nodes, wait for its backend, run its hotplug script.

    Raises: ToolstackError in libxl's words.
    """
    device = disk.device
    owner = toolstack.guest(device.domid)
    refusal = toolstack.images.claim(
        device.domid, device.devid, owner.name if owner else str(device.domid), disk.vbd
    )
    if refusal is not None:
        raise refusal.error(device.domid)
    try:
        await _make(toolstack, store, disk)
    except BaseException:
        toolstack.images.release(device.domid, device.devid)
        raise


async def _make(toolstack: Toolstack, store: Store, disk: Disk) -> None:
    device = disk.device
    lending.lend(toolstack, device, disk.vbd)
    await backends.make_nodes(toolstack, store, device, device_layout.add_vbd(device, disk.vbd))
    if device.backend_kind == QDISK:
        return  # QEMU goes on by itself, if it is there yet: libxl does not wait for it either
    try:
        await backends.init_wait(toolstack, store, device)
    except backends.NotServed as failed:
        kind = ToolstackError
        if failed.stranger:
            await forget(store, device)  # nobody has touched it, nor ever will
            kind = backends.Unserved
        raise kind(
            libxl(
                f"libxl_device.c:1109:device_backend_callback: Domain {device.domid}:unable to add "
                f"device with path {device.backend}"
            ),
            libxl(str(failed), "info"),
            *await quota_hint.hint(store, device.backend_domid),
        ) from None
    await libxl_log.unregistered(device)
    if hotplug.needed(device):
        await hotplug.add(toolstack, device, disk.vbd)
    else:
        await hotplug.elsewhere(toolstack, device, disk.vbd)


async def attach(
    toolstack: Toolstack, store: Store, domid: int, spec: DiskConfig, request: CreateRequest
) -> Disk:
    """``xl block-attach``.  Raises: ToolstackError in xl's words, exit code 1."""
    early = libxl("libxl_device.c:1486:device_addrm_aocomplete: unable to add device")
    failed = "libxl_device_disk_add failed."
    try:
        disk = await plan(toolstack, store, domid, spec, request)
    except ToolstackError as error:
        raise ToolstackError(*error.lines, early, failed) from None
    if await store.read(disk.device.libxl) is not None:
        raise ToolstackError(
            libxl(
                f"libxl_disk.c:343:device_disk_add: Domain {domid}:device already exists in "
                "xenstore"
            ),
            early,
            failed,
        )
    if disk.device.backend_kind == QDISK and disk.device.backend_domid == 0:
        try:
            await device_model.check_running(store, domid)
        except ToolstackError as error:
            raise ToolstackError(*error.lines, early, failed) from None
    try:
        with toolstack.changing(disk.device):
            await make(toolstack, store, disk)
    except ToolstackError as error:
        late = libxl(
            f"libxl_device.c:1481:device_addrm_aocomplete: Domain {domid}:Unable to add "
            f"vbd with id {disk.device.devid}"
        )
        raise ToolstackError(*error.lines, late, failed) from None
    guest = toolstack.guest(domid)
    if guest is not None:
        guest.disks[disk.device.devid] = disk
    return disk


async def lookup(store: Store, domid: int, vdev: str) -> Device:
    """The attached disk that *vdev* names.  Raises: ToolstackError in xl's words."""
    missing = f"Error: Device {vdev} not connected."
    number = vdev_names.parse(vdev)
    if number is None:
        raise ToolstackError(missing)
    backend = await store.read(f"{layout.libxl_path(domid)}/device/vbd/{number}/backend")
    device = of_backend(domid, "vbd", number, backend)
    if device is None:
        raise ToolstackError(
            libxl(
                "libxl_disk.c:516:libxl__disk_from_xenstore: disk "
                f"{layout.libxl_path(domid)}/device/vbd/{number} does not exist "
                "(no backend path"
            ),
            missing,
        )
    return device


def of_backend(domid: int, kind: str, devid: int, path: str | None) -> Device | None:
    """The device whose backend is at *path*; None when that is no backend's path."""
    parts = (path or "").split("/")
    number = unsigned(parts[3]) if len(parts) > 5 else None
    if number is None or parts[:3] != ["", "local", "domain"]:
        return None
    return Device(domid, kind, devid, number, parts[5] if parts[5] != kind else "")


async def detach(
    toolstack: Toolstack, store: Store, device: Device, *, force: bool = False
) -> list[str]:
    """``xl block-detach``; returns what libxl has to say about it.

    Args:
        force: its domain is not asked.

    Raises: ToolstackError in xl's words, exit code 1, when the device does not close in time.
    """
    how = Force.ON if force else Force.OFF
    failed = f"libxl_device_disk_{'destroy' if force else 'safe_remove'} failed."
    # One that has begun is carried to its end: half of a device is of no use.
    with anyio.CancelScope(shield=True), toolstack.changing(device):
        said = await remove(toolstack, store, device, failed, how)
    guest = toolstack.guest(device.domid)
    if guest is not None:
        guest.disks.pop(device.devid, None)
    toolstack.images.release(device.domid, device.devid)
    return said


class Force(Enum):
    """Whether a device is taken from a domain that does not let go of it (libxl__force)."""

    OFF = "no"
    AUTO = "when it did not within ten seconds"
    ON = "at once"


async def remove(
    toolstack: Toolstack, store: Store, device: Device, failed: str, force: Force
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
    both = Several((backends.party(device), Other(device.domid)))
    await begin_close(store, device, frontend_first=force is Force.ON)
    try:
        try:
            await wait_closed(store, device, both)
        except TimeoutError:
            if force is not Force.AUTO:
                raise
            where = "libxl_device.c:1174:device_backend_callback"
            await libxl_log.debug(where, "Timeout reached, initiating forced remove", device.domid)
            await begin_close(store, device, frontend_first=True)
            await wait_closed(store, device, backends.party(device))
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
        if device.backend_kind != QDISK:
            await hotplug.remove(toolstack, device)
    except ToolstackError as error:
        raise ToolstackError(*error.lines, failed) from None
    await forget(store, device)
    return []


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
            batch = device_layout.close(device, connected=state != CLOSED)
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
