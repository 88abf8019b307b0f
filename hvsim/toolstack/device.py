"""Attaching and detaching disks, with libxl's steps, waits and words (libxl_device.c)."""

import os
import stat
from typing import Final

import anyio

from hvsim.toolstack import backend as backends
from hvsim.toolstack import device_model, devids, hotplug, layout, quota_hint
from hvsim.toolstack.config import DiskConfig
from hvsim.toolstack.context import CreateRequest, Disk, Toolstack
from hvsim.toolstack.errors import ToolstackError, libxl
from hvsim.toolstack.layout import Device, Vbd
from hvsim.toolstack.store import Store, remove_with_empty_parents
from hvsim.toolstack.waiting import Other, Party, Several

HOTPLUG_TIMEOUT: Final = 40.0
"""Seconds that a hotplug script may take (LIBXL_HOTPLUG_TIMEOUT)."""
DESTROY_TIMEOUT: Final = 10.0
"""Seconds that a device has to close (LIBXL_DESTROY_TIMEOUT)."""

QDISK: Final = "qdisk"
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
    number = devids.devid(disk.vdev)
    if number is None:
        raise ToolstackError(
            libxl(
                f"libxl_disk.c:257:libxl__device_from_disk: Domain {domid}:Invalid or unsupported "
                f"virtual disk identifier {disk.vdev}"
            )
        )
    backend = 0
    if disk.backend is not None:
        found = await toolstack.find(store, disk.backend)
        if found is None or toolstack.hypervisor.info(found) is None:
            raise ToolstackError(*backends.departed(toolstack, disk.backend))
        backend = found
    backendtype = _backendtype(disk)
    if backendtype is None:
        raise ToolstackError(
            libxl(
                "libxl_device.c:397:libxl__device_disk_set_backend: no suitable backend for disk "
                f"{disk.vdev}"
            )
        )
    target = toolstack.resolve(disk.target, request)
    if backend == 0:
        _check_target(disk.vdev, target, backendtype)
    if backendtype == QDISK:
        target = f"{_QEMU_FORMATS.get(disk.format, disk.format)}:{target}"
    vbd = Vbd(
        params=target,
        vdev=disk.vdev,
        readonly=disk.readonly,
        cdrom=disk.cdrom,
        discard=disk.discard,
        script=disk.script or layout.BLOCK_SCRIPT,
        backendtype=backendtype,
        format=disk.format,
    )
    kind = QDISK if backendtype == QDISK else ""
    return Disk(Device(domid, "vbd", number, backend, kind), vbd)


def _backendtype(disk: DiskConfig) -> str | None:
    """What serves a disk: the first of phy and qdisk that can, when the config leaves it open;
    None when what it names cannot (disk_try_backend).  There is no blktap."""
    can = {
        "phy": disk.format == "raw",
        QDISK: disk.script is None,
    }
    wanted = [disk.backendtype] if disk.backendtype else list(can)
    return next((kind for kind in wanted if can.get(kind)), None)


def _check_target(vdev: str, target: str, backendtype: str) -> None:
    """What block scripts look at for phy nobody looks at for QEMU, which would wait for ever."""
    where = f"libxl_device.c:455:libxl__device_disk_set_backend: Disk vdev={vdev}"
    try:
        mode = os.stat(target).st_mode
    except (OSError, ValueError) as failure:
        reason = os.strerror(failure.errno or 0) if isinstance(failure, OSError) else str(failure)
        raise ToolstackError(libxl(f"{where} failed to stat: {target}: {reason}")) from None
    if backendtype == QDISK and not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise ToolstackError(libxl(f"{where}: {target} is neither a file nor a block device"))


async def make(toolstack: Toolstack, store: Store, disk: Disk) -> None:
    """Write the nodes of a disk, wait for its backend, run its hotplug script.

    Raises: ToolstackError in libxl's words.
    """
    device = disk.device
    await backends.make_nodes(toolstack, store, device, layout.add_vbd(device, disk.vbd))
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
    if hotplug.needed(device):
        await hotplug.add(toolstack, device)


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
    number = devids.devid(vdev)
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
    ours = len(parts) > 5 and parts[:3] == ["", "local", "domain"] and parts[3].isdecimal()
    if not ours:
        return None
    return Device(domid, kind, devid, int(parts[3]), parts[5] if parts[5] != kind else "")


async def detach(toolstack: Toolstack, store: Store, device: Device) -> list[str]:
    """``xl block-detach``; returns what libxl has to say about it.

    Raises: ToolstackError in xl's words, exit code 1, when the device does not close in time.
    """
    # One that has begun is carried to its end: half of a device is of no use.
    with anyio.CancelScope(shield=True), toolstack.changing(device):
        said = await remove(toolstack, store, device, "libxl_device_disk_safe_remove failed.")
    guest = toolstack.guest(device.domid)
    if guest is not None:
        guest.disks.pop(device.devid, None)
    return said


async def remove(toolstack: Toolstack, store: Store, device: Device, failed: str) -> list[str]:
    """The orderly end of a device of a guest that runs; returns what libxl says about it.

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
    await begin_close(store, device)
    try:
        both = Several((backends.party(device), Other(device.domid)))
        await wait_closed(store, device, both)
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
    if hotplug.needed(device):
        await hotplug.remove(toolstack, device)
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
            batch = layout.close(device, connected=state != CLOSED)
            await store.batch([request._replace(tx=tx) for request in batch])

    await store.transaction(close, f"closing {device.backend}")


async def wait_closed(store: Store, device: Device, party: Party) -> None:
    """Wait for the backend to be Closed, or gone; *party* is who has a part in that.

    Raises: TimeoutError after 10 s.
    """
    await store.wait_for(
        f"{device.backend}/state",
        lambda state: state in (None, CLOSED),
        DESTROY_TIMEOUT,
        f"the backend of {device.kind} {device.devid} of domain {device.domid} to be Closed",
        party,
    )


async def forget(store: Store, device: Device) -> None:
    """Remove every node of a device, and the directories that are empty then."""

    async def remove(tx: int) -> None:
        for path in (device.frontend, device.libxl, device.backend):
            await remove_with_empty_parents(store, tx, path)

    await store.transaction(remove, f"removing {device.libxl}")
