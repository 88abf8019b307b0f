"""Virtual disks, as the toolstack handles them (libxl_disk.c)."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from hvsim.names import vdev as vdev_names
from hvsim.toolstack.config import DiskConfig
from hvsim.toolstack.config.libxl_json import Tree
from hvsim.toolstack.devices import backend_domain, device_model, scripts
from hvsim.toolstack.devices.device_type import DeviceType, Record
from hvsim.toolstack.devices.vbd import refusals
from hvsim.toolstack.devices.vbd.half import SCRIPT, Vbd
from hvsim.toolstack.devices.vbd.refusals import QDISK
from hvsim.toolstack.devices.vbd.script import BLOCK
from hvsim.toolstack.host import libxl_log
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.device import Attached, Device
from hvsim.toolstack.host.errors import ToolstackError, libxl
from hvsim.toolstack.host.guest import Guest
from hvsim.toolstack.host.request import CreateRequest
from hvsim.toolstack.host.store import Store

_QEMU_FORMATS: Final = {"raw": "aio"}
"""Formats that have another name before the image's path (libxl__device_disk_string_of_format)."""


class Disks(DeviceType):
    """The kind "vbd"."""

    kind = "vbd"
    noun = "disk"
    numbering = refusals.NUMBERING
    label = numbering.label
    ring_keys = ("ring-ref", "ring-ref0", "queue-0/ring-ref")
    keys = ("params", "script", "type", "mode", "dev", "device-type", "discard-enable")
    script = BLOCK
    record = Record("disks", "vdev")
    setting = "disks"
    added_in = numbering.added_in
    launched_in = "libxl_create.c:1862:domcreate_launch_dm"
    defaults_in = "libxl_create.c:1318:initiate_domain_create"

    async def plan(self, toolstack: Toolstack, store: Store, guest: Guest) -> list[Attached]:
        """See DeviceType."""
        domid = guest.domid
        return [
            await self.planned(
                domid, number, partial(plan, toolstack, store, domid, spec, guest.request)
            )
            for number, spec in enumerate(guest.config.disks)
        ]

    def spec(self, attached: Attached) -> DiskConfig:
        """See DeviceType."""
        vbd = of(attached)
        backend = attached.device.backend_domid
        return DiskConfig(
            vdev=vbd.vdev,
            target=vbd.target,
            format=vbd.format,
            readonly=vbd.readonly,
            shared=vbd.shared,
            backend=str(backend) if backend else None,
            backendtype=vbd.backendtype,
            cdrom=vbd.cdrom,
            script=vbd.script if vbd.named else None,
            discard=vbd.discard,
        )

    def half_of(self, nodes: Mapping[str, str]) -> Vbd:
        """See DeviceType."""
        return Vbd.of_nodes(nodes)

    def waited_for(self, device: Device) -> bool:
        """QEMU goes on by itself, if it is there yet: libxl does not wait for it either."""
        return device.backend_kind != QDISK

    async def may_attach(self, store: Store, attached: Attached) -> None:
        """See DeviceType."""
        device = attached.device
        await self.must_be_new(store, device)
        if device.backend_kind == QDISK and device.backend_domid == 0:
            await device_model.check_running(store, device.domid)

    def entry(self, attached: Attached) -> Tree:
        """See DeviceType."""
        vbd, entry = of(attached), super().entry(attached)
        entry["pdev_path"] = vbd.target
        entry["vdev"] = vbd.vdev
        if vbd.backendtype != "phy":
            entry["backend"] = vbd.backendtype
        entry["format"] = vbd.format
        if vbd.own_script:
            entry["script"] = vbd.own_script
        if vbd.cdrom:
            entry["removable"] = 1
        if not vbd.readonly:
            entry["readwrite"] = 1
        if vbd.cdrom:
            entry["is_cdrom"] = 1
        if not vbd.discard:
            entry["discard_enable"] = "False"
        return entry | {"colo_restore_enable": "False"}


DISKS: Final = Disks()


def of(attached: Attached) -> Vbd:
    """The half of a device that is known to be a disk."""
    assert isinstance(attached.half, Vbd)
    return attached.half


async def plan(
    toolstack: Toolstack, store: Store, domid: int, disk: DiskConfig, request: CreateRequest
) -> Attached:
    """Where a disk will stand in the store, and what will stand there.

    Raises: ToolstackError in libxl's words.
    """
    refusal = refusals.disk(disk)
    number, backendtype = vdev_names.parse(disk.vdev), refusals.backendtype(disk)
    if refusal is not None or number is None or disk.target is None:
        assert refusal is not None
        raise refusal.error(domid)
    backend = await backend_domain.find(toolstack, store, disk.backend)
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
        script=scripts.absolute(disk.script) if disk.script else SCRIPT,
        named=disk.script is not None,
        backendtype=backendtype or "phy",
        format=disk.format,
    )
    return Attached(
        Device(domid, DISKS.kind, number, backend, QDISK if backendtype == QDISK else ""), vbd
    )


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


async def lookup(store: Store, domid: int, vdev: str) -> Device:
    """The attached disk that *vdev* names.  Raises: ToolstackError in xl's words."""
    missing = f"Error: Device {vdev} not connected."
    number = vdev_names.parse(vdev)
    if number is None:
        raise ToolstackError(missing)
    device = await DISKS.find(store, domid, number)
    if device is None:
        raise ToolstackError(
            libxl(
                "libxl_disk.c:516:libxl__disk_from_xenstore: disk "
                f"{DISKS.root(domid)}/{number} does not exist (no backend path"
            ),
            missing,
        )
    return device
