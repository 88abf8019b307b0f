"""Attaching and detaching network interfaces, with libxl's steps, waits and words (libxl_nic.c)."""

import errno
import hashlib
from typing import Final

import anyio

from hvsim.toolstack import backend as backends
from hvsim.toolstack import device as devices
from hvsim.toolstack import layout, quota_hint
from hvsim.toolstack.config.vif import VifConfig
from hvsim.toolstack.context import Guest, Nic, Toolstack
from hvsim.toolstack.errors import ToolstackError, libxl
from hvsim.toolstack.layout import DEFAULT_MTU, Device, Vif, libxl_path, write
from hvsim.toolstack.store import Store

OUI: Final = "00:16:3e"
"""The first half of every made-up address (Xen's own)."""


def made_up_mac(uuid: str, devid: int) -> str:
    """An address that a guest keeps over its lives: drawn from its uuid (libxl draws dice)."""
    digest = hashlib.sha256(f"{uuid}/{devid}".encode()).digest()
    return f"{OUI}:{digest[0] & 0x7F:02x}:{digest[1]:02x}:{digest[2]:02x}"


async def plan(
    toolstack: Toolstack, store: Store, domid: int, uuid: str, devid: int, config: VifConfig
) -> Nic:
    """Where an interface will stand in the store, and what will stand there.

    Raises: ToolstackError when its backend names no domain; libxl has no words of its own for it.
    """
    backend = 0
    if config.backend is not None:
        found = await toolstack.find(store, config.backend)
        if found is None or toolstack.hypervisor.info(found) is None:
            raise ToolstackError(*backends.departed(toolstack, config.backend))
        backend = found
    vif = Vif(
        mac=config.mac or made_up_mac(uuid, devid),
        bridge=config.bridge,
        script=config.script or layout.VIF_SCRIPT,
        ifname=config.ifname,
        ip=config.ip,
        gatewaydev=config.gatewaydev,
        rate=config.rate,
        mtu=config.mtu or DEFAULT_MTU,
    )
    return Nic(Device(domid, "vif", devid, backend), vif)


async def make(toolstack: Toolstack, store: Store, nic: Nic) -> None:
    """Write the nodes of an interface, wait for its backend, run its hotplug script.

    Raises: ToolstackError in libxl's words.
    """
    device = nic.device
    await backends.make_nodes(toolstack, store, device, layout.add_vif(device, nic.vif))
    try:
        await backends.init_wait(toolstack, store, device)
    except backends.NotServed as failed:
        kind = ToolstackError
        if failed.stranger:
            await devices.forget(store, device)  # nobody has touched it, nor ever will
            kind = backends.Unserved
        raise kind(
            libxl(
                f"libxl_device.c:1109:device_backend_callback: Domain {device.domid}:unable to add "
                f"device with path {device.backend}"
            ),
            libxl(str(failed), "info"),
            *await quota_hint.hint(store, device.backend_domid),
        ) from None
    if device.backend_domid == 0:  # in a driver domain the script runs there
        await script_online(toolstack, device)


async def script_online(toolstack: Toolstack, device: Device) -> None:
    """What /etc/xen/scripts/vif-bridge leaves in the store; dom0's backend has plugged the link."""
    base = device.backend
    async with toolstack.store("SCRIPT") as store:
        _, _, _, mtu = await store.read_many(
            f"{base}/{key}" for key in ("vifname", "ip", "bridge", "mtu")
        )
        batch = write(f"{device.frontend}/mtu", mtu or DEFAULT_MTU)
        batch += write(f"{base}/hotplug-status", "connected")
        for result in await store.batch(batch):
            if isinstance(result, OSError) and result.errno != errno.ENOENT:
                raise result


async def attach(toolstack: Toolstack, store: Store, guest: Guest, config: VifConfig) -> Nic:
    """``xl network-attach``.  Raises: ToolstackError in xl's words, exit code 1.

    As in xl, one whose hotplug failed stays in the store half made.
    """
    failed = "libxl_device_nic_add failed."
    try:
        devid = await _next(store, guest.domid)
        nic = await plan(toolstack, store, guest.domid, guest.uuid, devid, config)
    except ToolstackError as error:
        early = libxl("libxl_device.c:1486:device_addrm_aocomplete: unable to add device")
        raise ToolstackError(*error.lines, early, failed) from None
    left = True
    try:
        with toolstack.changing(nic.device):
            await make(toolstack, store, nic)
    except ToolstackError as error:
        left = not isinstance(error, backends.Unserved)
        late = libxl(
            f"libxl_device.c:1481:device_addrm_aocomplete: Domain {guest.domid}:Unable to add "
            f"vif with id {devid}"
        )
        raise ToolstackError(*error.lines, late, failed) from None
    finally:
        if left:
            guest.nics[devid] = nic
    return nic


async def _next(store: Store, domid: int) -> int:
    """The number after the highest that is taken (libxl__device_nextid)."""
    names = await store.children(f"{libxl_path(domid)}/device/vif")
    return max((int(name) for name in names if name.isdecimal()), default=-1) + 1


async def lookup(store: Store, domid: int, text: str) -> Device:
    """The interface that *text*, a number or a MAC address, names.

    Raises: ToolstackError in xl's words.
    """
    root = f"{libxl_path(domid)}/device/vif"
    if ":" in text:
        names = await store.children(root)
        macs = await store.read_many(f"{root}/{name}/mac" for name in names)
        number = dict(zip(macs, names, strict=True)).get(text.lower())
        if number is None:
            raise ToolstackError(f"Unknown device {text}.")
    else:
        number = text
    backend = await store.read(f"{root}/{number}/backend") if number.isdecimal() else None
    device = devices.of_backend(domid, "vif", int(number), backend) if backend else None
    if device is None:
        raise ToolstackError(
            libxl(
                "libxl_xshelp.c:206:libxl__xs_read_mandatory: xenstore read failed: "
                f"`{root}/{text}': No such file or directory"
            ),
            f"Unknown device {text}.",
        )
    return device


async def detach(toolstack: Toolstack, store: Store, device: Device) -> list[str]:
    """``xl network-detach``; returns what libxl has to say about it.

    Raises: ToolstackError in xl's words, exit code 1, when the device does not close in time.
    """
    # One that has begun is carried to its end: half of a device is of no use.
    with anyio.CancelScope(shield=True), toolstack.changing(device):
        said = await devices.remove(toolstack, store, device, "libxl_device_nic_del failed.")
    guest = toolstack.guest(device.domid)
    if guest is not None:
        guest.nics.pop(device.devid, None)
    return said


def stack(guest: Guest) -> list[dict[str, object]]:
    """What a guest's own network stack is told of its interfaces (``args["net"]``)."""
    gateway = guest.request.args.get("gateway")
    rows: list[dict[str, object]] = []
    for nic in guest.nics.values():
        address = (nic.vif.ip or "").split(" ")[0] or None
        if address is not None and "/" not in address:
            address += "/64" if ":" in address else "/24"
        rows.append(
            {
                "index": nic.device.devid,
                "mac": nic.vif.mac,
                "mtu": nic.vif.mtu,
                "address": address,
                "gateway": gateway if not rows else None,
            }
        )
    return rows
