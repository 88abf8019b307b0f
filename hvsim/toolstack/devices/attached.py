"""What is attached to each guest: read anew from the store, and told to libxl's own records.

libxl keeps no device in memory: /libxl/<domid>/device says which there are.  A real xl in Domain-0
attaches and detaches there, and renames domains, without a word to this toolstack; so whoever is
about to act on devices that may have changed asks :func:`refresh` first.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from hvsim.toolstack.config import DomainConfig
from hvsim.toolstack.config.libxl_json import Tree
from hvsim.toolstack.devices import types
from hvsim.toolstack.devices.device_type import DeviceType
from hvsim.toolstack.host import libxl_record
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.device import Attached
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.guest import Guest
from hvsim.toolstack.host.nodes import domain_path
from hvsim.toolstack.host.store import Reader


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
        there = await store.children(f"/libxl/{guest.domid}/device")
        for kind in types.connecting(toolstack):
            if kind.root(guest.domid).rpartition("/")[2] in there or guest.of(kind.kind):
                await _refresh(store, guest, kind)


async def _refresh(store: Reader, guest: Guest, kind: DeviceType) -> None:
    there = {device.devid: device for device in await kind.all_of(store, guest.domid)}
    known = guest.of(kind.kind)
    for devid in [devid for devid in known if devid not in there]:
        del known[devid]
    for devid, device in there.items():
        if devid in known and known[devid].device.backend == device.backend:
            continue
        values = await store.read_many(f"{device.libxl}/{key}" for key in kind.keys)
        pairs = zip(kind.keys, values, strict=True)
        nodes = {key: value for key, value in pairs if value is not None}
        known[devid] = Attached(device, kind.half_of(nodes))


def config_now(guest: Guest) -> DomainConfig:
    """The config of a guest as it is now: what it is built from when it reboots, as xl does
    (reload_domain_config)."""
    devices: dict[str, Any] = {
        kind.setting: tuple(kind.spec(one) for one in guest.of(kind.kind).values())
        for kind in types.OF_XEN
        if kind.setting
    }
    return replace(guest.config, name=guest.name, **devices)


def recorded(guest: Guest) -> dict[str, list[Tree]]:
    """The devices of a guest, as libxl's record lists them."""
    return {
        kind.record.key: [kind.entry(one) for one in guest.of(kind.kind).values()]
        for kind in types.OF_XEN
        if kind.record is not None
    }


def keep_dom0(toolstack: Toolstack) -> None:
    """Write libxl's record of Domain-0, as xen-init-dom0 does."""
    info = toolstack.hypervisor.info(0)
    assert info is not None, "we are it"
    try:
        toolstack.libxl_files.store(0, info.uuid, libxl_record.of_dom0())
    except OSError as failure:
        toolstack.dom.log(f"a real xl knows nothing of Domain-0: {failure}")


async def keep(toolstack: Toolstack, guest: Guest, kernel: str) -> None:
    """Write libxl's record of a domain that was made."""
    whole = libxl_record.kept(guest.config, guest.uuid, kernel, recorded(guest))
    try:
        async with toolstack.libxl_files.locked(guest.domid, guest.uuid):
            toolstack.libxl_files.store(guest.domid, guest.uuid, whole)
    except (OSError, ToolstackError) as failure:
        toolstack.dom.log(f"{guest.name}: a real xl cannot attach devices to it: {failure}")


async def keep_devices(
    toolstack: Toolstack, guest: Guest, attached: Iterable[Attached], *, gone: bool = False
) -> None:
    """Note devices that were attached or moved, or that are *gone*, in libxl's record."""
    files = toolstack.libxl_files
    try:
        async with files.locked(guest.domid, guest.uuid):
            whole = files.load(guest.domid, guest.uuid)
            if whole is None:
                return
            for one in attached:
                whole = _noted(toolstack, whole, one, gone)
            files.store(guest.domid, guest.uuid, whole)
    except (OSError, ToolstackError) as failure:
        toolstack.dom.log(f"{guest.name}: what a real xl knows of its devices is old: {failure}")


def _noted(toolstack: Toolstack, whole: Tree, one: Attached, gone: bool) -> Tree:
    kind = types.of(toolstack, one.device.kind)
    if kind is None or kind.record is None:
        return whole
    entry = kind.entry(one)
    return libxl_record.with_device(whole, *kind.record, entry, gone=gone)
