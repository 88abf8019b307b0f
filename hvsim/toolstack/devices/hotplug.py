"""Hotplug: what is done in dom0 when a backend has seen a new device, and when one goes.

libxl starts a script then.  The two usual ones, /etc/xen/scripts/block and vif-bridge, are done
here in this process: they have a store connection of their own, named SCRIPT in the trace, and
leave the same nodes; there is no loop device, ``node`` is the image itself.  A script that a config
names (``script=``, also one of those two) is run (`scripts.py`), for a device that dom0 serves and
for one of a driver domain.
"""

import errno
import os
from typing import Final

from hvsim.drivers.block.hotplug import HotplugError, prepare
from hvsim.toolstack.devices import lending, scripts
from hvsim.toolstack.devices.layout import BLOCK_SCRIPT, DEFAULT_MTU, VIF_SCRIPT, Device, Vbd, Vif
from hvsim.toolstack.devices.scripts import Script
from hvsim.toolstack.domain.layout import domain_path, write
from hvsim.toolstack.host import libxl_log
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.errors import ToolstackError

_USUAL: Final = {"vbd": BLOCK_SCRIPT, "vif": VIF_SCRIPT}
_ACTIONS: Final = {"vbd": ("add", "remove"), "vif": ("online", "offline")}
_LOOKED_AT: Final = {"vbd": ("type", "params", "mode", "node"), "vif": ("vifname", "ip", "bridge")}
"""What the usual script of a device that goes reads."""


def needed(device: Device) -> bool:
    """Whether a device has a script that runs here: in a driver domain it runs there, and QEMU
    opens its images itself."""
    return device.backend_domid == 0 and device.backend_kind != "qdisk"


async def add(toolstack: Toolstack, device: Device, half: Vbd | Vif) -> None:
    """The script of a new device that dom0 serves.

    Raises: ToolstackError with libxl's words; hotplug-error and hotplug-status say it as well.
    """
    script = _script(device, 0, half.script, half.named, getattr(half, "gatewaydev", None))
    await _say(script, device)
    if script.named:
        await scripts.run(toolstack, script, device)
    elif device.kind == "vbd":
        await _block_add(toolstack, device)
    else:
        await _vif_online(toolstack, device)
    await _said(script, device)


async def remove(toolstack: Toolstack, device: Device) -> None:
    """The script of a device that goes.  The usual ones have nothing to release: there is no loop
    device, and a backend takes its link out of the bridge itself.

    Raises: ToolstackError in libxl's words when a named script fails.
    """
    script = await _known(toolstack, device)
    if not needed(device):
        guest = toolstack.guest(device.domid)
        attached = None if guest is None else guest.attached(device)
        if attached is not None:
            lending.take_back(toolstack, device, attached.half)
        if _theirs(script, device):
            await scripts.run_for_driver(toolstack, script, device)
        return
    await _say(script, device)
    try:
        if script.named:
            await scripts.run(toolstack, script, device)
        else:
            await _usual_gone(toolstack, device)
    finally:
        scripts.let_go(device)
    await _said(script, device)


async def elsewhere(toolstack: Toolstack, device: Device, half: Vbd | Vif) -> None:
    """A new device of a driver domain: what runs its scripts there (``xl devd`` in a real one) is
    not waited for, and nobody here hears of its failure."""
    if device.backend_domid == 0:
        return
    where = "libxl_device.c:1222:device_hotplug"
    text = f"Backend domid {device.backend_domid}, domid 0, assuming driver domains"
    await libxl_log.debug(where, text, device.domid)
    where = "libxl_device.c:1227:device_hotplug"
    await libxl_log.debug(where, "Not a remove, not executing hotplug scripts")
    await libxl_log.unregistered(device)
    script = _script(device, 0, half.script, half.named, getattr(half, "gatewaydev", None))
    if _theirs(script, device):
        toolstack.tasks.start_soon(scripts.run_for_driver, toolstack, script, device)


async def usual(toolstack: Toolstack, device: Device, *, comes: bool) -> None:
    """The usual script of a device that another toolstack, a real xl in Domain-0, has made or takes
    away.

    Raises: ToolstackError as `add`.
    """
    if not comes:
        await _usual_gone(toolstack, device)
    elif device.kind == "vbd":
        await _block_add(toolstack, device)
    else:
        await _vif_online(toolstack, device)


def _theirs(script: Script, device: Device) -> bool:
    """Whether a script is to be run in a driver domain; the usual one is its driver's."""
    return script.named and script.path != _USUAL[device.kind]


async def _known(toolstack: Toolstack, device: Device) -> Script:
    """The last run of the script of a device that is there already."""
    guest = toolstack.guest(device.domid)
    attached = None if guest is None else guest.attached(device)
    if attached is not None:
        half = attached.half
        return _script(device, 1, half.script, half.named, getattr(half, "gatewaydev", None))
    async with toolstack.store() as store:
        keys = ("script", "gatewaydev")
        path, netdev = await store.read_many(f"{device.libxl}/{key}" for key in keys)
    path = path or _USUAL[device.kind]
    return _script(device, 1, path, path != _USUAL[device.kind], netdev)


def _script(device: Device, which: int, path: str, named: bool, netdev: str | None) -> Script:
    """A script, for the first (0) or the last (1) of its runs."""
    words: tuple[str, ...] = ()
    environment = {
        "script": path,
        "XENBUS_TYPE": device.kind,
        "XENBUS_PATH": device.relative_backend,
        "XENBUS_BASE_PATH": "backend",
    }
    if device.kind == "vif":
        words = ("type_if=vif",)
        environment |= {"netdev": netdev or "", "vif": f"vif{device.domid}.{device.devid}"}
    return Script(path, _ACTIONS[device.kind][which], words, environment, named)


async def _say(script: Script, device: Device) -> None:
    if not libxl_log.on():
        return
    if device.kind == "vbd":
        where = "libxl_linux.c:194:libxl__hotplug_disk"
        await libxl_log.debug(where, "Args and environment ready", device.domid)
    here = "device_hotplug"
    lines = [
        (1269, f"calling hotplug script: {script.path} {script.action}"),
        (1270, "extra args:"),
    ]
    lines += [(1276, f"\t{word}") for word in script.words]
    lines.append((1278, "env:"))
    lines += [(1285, f"\t{key}: {value}") for key, value in script.environment.items()]
    for line, text in lines:
        await libxl_log.debug(f"libxl_device.c:{line}:{here}", text, device.domid)
    where = "libxl_aoutils.c:593:libxl__async_exec_start"
    await libxl_log.debug(where, f"forking to execute: {script.path} {script.action} ")


async def _said(script: Script, device: Device) -> None:
    if not libxl_log.on():
        return
    await libxl_log.unregistered(script)
    if device.kind == "vbd":
        where = "libxl_linux.c:211:libxl__get_hotplug_script_info"
        text = "num_exec 1, not running hotplug scripts"
        await libxl_log.debug(where, text, device.domid)
    where = "libxl_device.c:1254:device_hotplug"
    await libxl_log.debug(where, "No hotplug script to execute", device.domid)
    await libxl_log.unregistered(script)


async def _usual_gone(toolstack: Toolstack, device: Device) -> None:
    async with toolstack.store("SCRIPT") as store:
        keys = _LOOKED_AT[device.kind]
        await store.read_many(f"{device.backend}/{key}" for key in keys)


async def _block_add(toolstack: Toolstack, device: Device) -> None:
    """/etc/xen/scripts/block: make the image of a new disk available."""
    base = device.backend
    async with toolstack.store("SCRIPT") as store:
        keys = ("type", "params", "mode", "physical-device", "frontend-id")
        _, params, mode, _, _ = await store.read_many(f"{base}/{key}" for key in keys)
        state = (await store.read_many([f"{domain_path(device.domid)}/vm", f"{base}/state"]))[1]
        try:
            if state not in ("1", "2"):
                raise HotplugError(
                    "Path closed or removed during hotplug add: "
                    f"{device.relative_backend} state: {state or 'unknown'}"
                )
            attached = prepare(params or "", mode or "w")
        except HotplugError as failed:
            await store.batch(
                [
                    *write(f"{base}/hotplug-error", str(failed)),
                    *write(f"{base}/hotplug-status", "error"),
                ]
            )
            raise ToolstackError(
                *scripts.failed(f"{BLOCK_SCRIPT} add", os.getpid(), 1, str(failed))
            ) from None
        batch = [
            request for key, value in attached.writes() for request in write(f"{base}/{key}", value)
        ]
        for result in await store.batch(batch):
            if isinstance(result, OSError) and result.errno != errno.ENOENT:
                raise result


async def _vif_online(toolstack: Toolstack, device: Device) -> None:
    """/etc/xen/scripts/vif-bridge; the link itself is plugged in by the backend when it hears that
    this is done.  What the backend could not do with it stands in the store by now."""
    base = device.backend
    async with toolstack.store("SCRIPT") as store:
        keys = ("vifname", "ip", "bridge", "mtu", "hotplug-status", "hotplug-error")
        _, _, _, mtu, status, error = await store.read_many(f"{base}/{key}" for key in keys)
        if status == "error":
            raise ToolstackError(
                *scripts.failed(f"{VIF_SCRIPT} online", os.getpid(), 1, error or "")
            )
        batch = write(f"{device.frontend}/mtu", mtu or DEFAULT_MTU)
        batch += write(f"{base}/hotplug-status", "connected")
        for result in await store.batch(batch):
            if isinstance(result, OSError) and result.errno != errno.ENOENT:
                raise result
