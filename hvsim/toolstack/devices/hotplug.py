"""Hotplug: what is done in dom0 when a backend has seen a new device, and when one goes.

libxl starts a script then.  The usual ones, /etc/xen/scripts/block and vif-bridge, are done here
in this process (``UsualScript``): they have a store connection of their own, named SCRIPT in the
trace, and leave the same nodes.  A script that a config names (``script=``, also one of those) is
run (`scripts.py`), for a device that dom0 serves and for one of a driver domain.
"""

from hvsim.toolstack.devices import lending, scripts
from hvsim.toolstack.devices.device_type import DeviceType, UsualScript
from hvsim.toolstack.devices.scripts import Script
from hvsim.toolstack.host import libxl_log
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.device import Device, Half


async def add(toolstack: Toolstack, kind: DeviceType, device: Device, half: Half) -> None:
    """The script of a new device: in dom0 it is waited for; in a driver domain it runs there.

    Raises: ToolstackError with libxl's words; hotplug-error and hotplug-status say it as well.
    """
    if device.backend_domid:
        await elsewhere(toolstack, kind, device, half)
    elif kind.script is not None:
        script = _of_half(kind.script, device, 0, half)
        await _say(kind.script, script, device)
        if script.named:
            await scripts.run(toolstack, script, device)
        else:
            await kind.script.comes(toolstack, device)
        await _said(kind.script, script, device)


async def remove(toolstack: Toolstack, kind: DeviceType, device: Device) -> None:
    """The script of a device that goes.  The usual ones have nothing to release: there is no loop
    device, and a backend takes its link out of the bridge itself.  QEMU has none at all.

    Raises: ToolstackError in libxl's words when a named script fails.
    """
    if not kind.waited_for(device):
        return
    if device.backend_domid:
        await _remove_elsewhere(toolstack, kind, device)
    elif kind.script is not None:
        script = await _known(toolstack, kind.script, device)
        await _say(kind.script, script, device)
        try:
            if script.named:
                await scripts.run(toolstack, script, device)
            else:
                await _usual_gone(toolstack, kind.script, device)
        finally:
            scripts.let_go(device)
        await _said(kind.script, script, device)


async def _remove_elsewhere(toolstack: Toolstack, kind: DeviceType, device: Device) -> None:
    script = None if kind.script is None else await _known(toolstack, kind.script, device)
    guest = toolstack.guest(device.domid)
    attached = None if guest is None else guest.attached(device)
    if attached is not None:
        lending.take_back(toolstack, device, attached.half)
    if script is not None and _theirs(kind, script):
        await scripts.run_for_driver(toolstack, script, device)


async def elsewhere(toolstack: Toolstack, kind: DeviceType, device: Device, half: Half) -> None:
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
    if kind.script is None:
        return
    script = _of_half(kind.script, device, 0, half)
    if _theirs(kind, script):
        toolstack.tasks.start_soon(scripts.run_for_driver, toolstack, script, device)


async def usual(toolstack: Toolstack, script: UsualScript, device: Device, *, comes: bool) -> None:
    """The usual script of a device that another toolstack, a real xl in Domain-0, has made or takes
    away.

    Raises: ToolstackError as `add`.
    """
    if comes:
        await script.comes(toolstack, device)
    else:
        await _usual_gone(toolstack, script, device)


def _theirs(kind: DeviceType, script: Script) -> bool:
    """Whether a script is to be run in a driver domain; the usual one is its driver's."""
    return script.named and kind.script is not None and script.path != kind.script.path


async def _known(toolstack: Toolstack, usual: UsualScript, device: Device) -> Script:
    """The last run of the script of a device that is there already."""
    guest = toolstack.guest(device.domid)
    attached = None if guest is None else guest.attached(device)
    if attached is not None:
        return _of_half(usual, device, 1, attached.half)
    async with toolstack.store() as store:
        keys = ("script", "gatewaydev")
        path, netdev = await store.read_many(f"{device.libxl}/{key}" for key in keys)
    path = path or usual.path
    return _script(usual, device, 1, path, path != usual.path, netdev)


def _of_half(usual: UsualScript, device: Device, which: int, half: Half) -> Script:
    netdev = getattr(half, "gatewaydev", None)
    return _script(usual, device, which, half.script, half.named, netdev)


def _script(
    usual: UsualScript, device: Device, which: int, path: str, named: bool, netdev: str | None
) -> Script:
    """A script, for the first (0) or the last (1) of its runs."""
    environment = {
        "script": path,
        "XENBUS_TYPE": device.kind,
        "XENBUS_PATH": device.relative_backend,
        "XENBUS_BASE_PATH": "backend",
        **usual.environment(device, netdev),
    }
    return Script(
        path,
        usual.actions[which],
        usual.words,
        environment,
        named,
        networked=usual.networked,
        holds=usual.holds and which == 0,
    )


async def _say(usual: UsualScript, script: Script, device: Device) -> None:
    if not libxl_log.on():
        return
    if usual.before is not None:
        await libxl_log.debug(*usual.before, device.domid)
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


async def _said(usual: UsualScript, script: Script, device: Device) -> None:
    if not libxl_log.on():
        return
    await libxl_log.unregistered(script)
    if usual.after is not None:
        await libxl_log.debug(*usual.after, device.domid)
    where = "libxl_device.c:1254:device_hotplug"
    await libxl_log.debug(where, "No hotplug script to execute", device.domid)
    await libxl_log.unregistered(script)


async def _usual_gone(toolstack: Toolstack, script: UsualScript, device: Device) -> None:
    async with toolstack.store("SCRIPT") as store:
        await store.read_many(f"{device.backend}/{key}" for key in script.looked_at)
