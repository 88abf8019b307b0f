"""What is attached to each guest: read anew from the store, and told to libxl's own records.

libxl keeps no device in memory: /libxl/<domid>/device says which there are.  A real xl in Domain-0
attaches and detaches there, and renames domains, without a word to this toolstack; so whoever is
about to act on devices that may have changed asks :func:`refresh` first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from hvsim.toolstack.config import DiskConfig, VifConfig
from hvsim.toolstack.devices import disk as devices
from hvsim.toolstack.devices.layout import Device, Vbd, Vif
from hvsim.toolstack.domain import libxl_json
from hvsim.toolstack.domain.layout import domain_path, libxl_path
from hvsim.toolstack.host.context import Disk, Guest, Nic
from hvsim.toolstack.host.errors import ToolstackError

if TYPE_CHECKING:
    from hvsim.toolstack.config import DomainConfig
    from hvsim.toolstack.host.context import Toolstack
    from hvsim.toolstack.host.store import Reader

_KINDS: Final = ("vbd", "vif")
_KEYS: Final = {
    "vbd": ("params", "script", "type", "mode", "dev", "device-type", "discard-enable"),
    "vif": ("mac", "bridge", "script", "vifname", "ip", "gatewaydev", "rate", "mtu"),
}


async def refresh(toolstack: Toolstack, store: Reader, one: Guest | None = None) -> None:
    """Bring what is known of every guest, or of *one*, in line with the store: its devices and
    its name."""
    known = [guest for guest in toolstack.guests.values() if not guest.handled]
    guests = [guest for guest in ([one] if one is not None else known) if guest.complete]
    names = await store.read_many(f"{domain_path(guest.domid)}/name" for guest in guests)
    for guest, name in zip(guests, names, strict=True):
        if name:
            guest.name = name
    for guest in guests:
        for kind in _KINDS:
            await _refresh(store, guest, kind)


async def _refresh(store: Reader, guest: Guest, kind: str) -> None:
    root = f"{libxl_path(guest.domid)}/device/{kind}"
    numbers = [name for name in await store.children(root) if name.isdecimal()]
    backends = await store.read_many(f"{root}/{number}/backend" for number in numbers)
    known: dict[int, Any] = guest.disks if kind == "vbd" else guest.nics
    there = dict(zip(map(int, numbers), backends, strict=True))
    for devid in [devid for devid in known if devid not in there]:
        del known[devid]
    for devid, backend in there.items():
        if devid in known and known[devid].device.backend == backend:
            continue
        device = devices.of_backend(guest.domid, kind, devid, backend)
        if device is None:
            continue
        keys = _KEYS[kind]
        values = await store.read_many(f"{device.libxl}/{key}" for key in keys)
        nodes = {key: value for key, value in zip(keys, values, strict=True) if value is not None}
        if kind == "vbd":
            guest.disks[devid] = Disk(device, Vbd.of_nodes(nodes))
        else:
            guest.nics[devid] = Nic(device, Vif.of_nodes(nodes))


def config_now(guest: Guest) -> DomainConfig:
    """The config of a guest as it is now: what it is built from when it reboots, as xl does
    (reload_domain_config)."""
    return replace(
        guest.config,
        name=guest.name,
        disks=tuple(_disk_config(disk) for disk in guest.disks.values()),
        vifs=tuple(_vif_config(nic) for nic in guest.nics.values()),
    )


def _backend(device: Device) -> str | None:
    return str(device.backend_domid) if device.backend_domid else None


def _disk_config(disk: Disk) -> DiskConfig:
    vbd = disk.vbd
    return DiskConfig(
        vdev=vbd.vdev,
        target=vbd.target,
        format=vbd.format,
        readonly=vbd.readonly,
        shared=vbd.shared,
        backend=_backend(disk.device),
        backendtype=vbd.backendtype,
        cdrom=vbd.cdrom,
        script=vbd.script if vbd.named else None,
        discard=vbd.discard,
    )


def _vif_config(nic: Nic) -> VifConfig:
    vif = nic.vif
    return VifConfig(
        mac=vif.mac,
        bridge=vif.bridge,
        ip=vif.ip,
        rate=vif.rate,
        backend=_backend(nic.device),
        script=vif.script if vif.named else None,
        ifname=vif.ifname,
        mtu=vif.mtu,
        gatewaydev=vif.gatewaydev,
        devid=nic.device.devid,
    )


def keep_dom0(toolstack: Toolstack) -> None:
    """Write libxl's record of Domain-0, as xen-init-dom0 does."""
    info = toolstack.hypervisor.info(0)
    assert info is not None, "we are it"
    try:
        toolstack.libxl_files.store(0, info.uuid, libxl_json.of_dom0())
    except OSError as failure:
        toolstack.dom.log(f"a real xl knows nothing of Domain-0: {failure}")


async def keep(toolstack: Toolstack, guest: Guest, kernel: str) -> None:
    """Write libxl's record of a domain that was made."""
    whole = libxl_json.kept(
        guest.config, guest.uuid, kernel, list(guest.disks.values()), list(guest.nics.values())
    )
    try:
        async with toolstack.libxl_files.locked(guest.domid, guest.uuid):
            toolstack.libxl_files.store(guest.domid, guest.uuid, whole)
    except (OSError, ToolstackError) as failure:
        toolstack.dom.log(f"{guest.name}: a real xl cannot attach devices to it: {failure}")


async def keep_devices(
    toolstack: Toolstack, guest: Guest, attached: Iterable[Disk | Nic], *, gone: bool = False
) -> None:
    """Note devices that were attached or moved, or that are *gone*, in libxl's record."""
    files = toolstack.libxl_files
    try:
        async with files.locked(guest.domid, guest.uuid):
            whole = files.load(guest.domid, guest.uuid)
            if whole is None:
                return
            for one in attached:
                whole = _noted(whole, one, gone)
            files.store(guest.domid, guest.uuid, whole)
    except (OSError, ToolstackError) as failure:
        toolstack.dom.log(f"{guest.name}: what a real xl knows of its devices is old: {failure}")


def _noted(whole: dict[str, Any], one: Disk | Nic, gone: bool) -> dict[str, Any]:
    if isinstance(one, Disk):
        entry = None if gone else libxl_json.disk_kept(one)
        return libxl_json.with_device(whole, "disks", one.vbd.vdev, entry)
    entry = None if gone else libxl_json.nic_kept(one)
    return libxl_json.with_device(whole, "nics", one.device.devid, entry)
