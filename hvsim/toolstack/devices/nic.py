"""Attaching and detaching network interfaces, with libxl's steps, waits and words (libxl_nic.c)."""

import hashlib

import anyio

from hvsim.names import mac
from hvsim.names.number import unsigned
from hvsim.toolstack.config.vif import DEFAULT_BRIDGE, VifConfig
from hvsim.toolstack.devices import backend as backends
from hvsim.toolstack.devices import disk as devices
from hvsim.toolstack.devices import hotplug, quota_hint, scripts
from hvsim.toolstack.devices import layout as device_layout
from hvsim.toolstack.devices.layout import DEFAULT_MTU, VIF_SCRIPT, Device, Vif
from hvsim.toolstack.domain import refusals
from hvsim.toolstack.domain.layout import libxl_path
from hvsim.toolstack.host import libxl_log
from hvsim.toolstack.host.context import Guest, Nic, Toolstack
from hvsim.toolstack.host.errors import ToolstackError, libxl
from hvsim.toolstack.host.store import Store


def made_up_mac(uuid: str, devid: int) -> str:
    """An address that a guest keeps over its lives: drawn from its uuid (libxl draws dice)."""
    digest = hashlib.sha256(f"{uuid}/{devid}".encode()).digest()
    return f"{mac.OUI}:{mac.text_of(bytes([digest[0] & 0x7F, *digest[1:3]]))}"


async def plan(
    toolstack: Toolstack, store: Store, domid: int, uuid: str, devid: int, config: VifConfig
) -> Nic:
    """Where an interface will stand in the store, and what will stand there.

    Raises: ToolstackError when its backend names no domain; libxl has no words of its own for it.
    """
    refusal = refusals.vif(config, devid)
    if refusal is not None:
        raise refusal.error(domid)
    backend = 0
    if config.backend is not None:
        found = await toolstack.find(store, config.backend)
        if found is None or toolstack.hypervisor.info(found) is None:
            raise ToolstackError(*backends.departed(toolstack, config.backend))
        backend = found
    vif = Vif(
        mac=config.mac or made_up_mac(uuid, devid),
        bridge=config.bridge or DEFAULT_BRIDGE,
        script=scripts.absolute(config.script) if config.script else VIF_SCRIPT,
        named=config.script is not None,
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
    await backends.make_nodes(toolstack, store, device, device_layout.add_vif(device, nic.vif))
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
    await libxl_log.unregistered(device)
    if hotplug.needed(device):
        await hotplug.add(toolstack, device, nic.vif)
    else:
        await hotplug.elsewhere(toolstack, device, nic.vif)


async def attach(toolstack: Toolstack, store: Store, guest: Guest, config: VifConfig) -> Nic:
    """``xl network-attach``.  Raises: ToolstackError in xl's words, exit code 1.

    As in xl, one whose hotplug failed stays in the store half made.
    """
    failed = "libxl_device_nic_add failed."
    try:
        devid = await _next(store, guest.domid) if config.devid is None else config.devid
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
    taken = [number for name in names if (number := unsigned(name)) is not None]
    return max(taken, default=-1) + 1


async def lookup(store: Store, domid: int, text: str) -> Device:
    """The interface that *text*, a number or a MAC address, names; of several with one address the
    first in the order of their numbers, as libxl goes through them.

    Raises: ToolstackError in xl's words.
    """
    root = f"{libxl_path(domid)}/device/vif"
    number = unsigned(text)
    if ":" in text:
        number = await _of_mac(store, root, mac.parse(text))
        if number is None:
            raise ToolstackError(f"Unknown device {text}.")
    backend = None if number is None else await store.read(f"{root}/{number}/backend")
    device = devices.of_backend(domid, "vif", number, backend) if number is not None else None
    if device is None:
        raise ToolstackError(
            libxl(
                "libxl_xshelp.c:206:libxl__xs_read_mandatory: xenstore read failed: "
                f"`{root}/{text}': No such file or directory"
            ),
            f"Unknown device {text}.",
        )
    return device


async def _of_mac(store: Store, root: str, wanted: str | None) -> int | None:
    """The lowest number of an interface with that address below libxl's *root*."""
    numbers = sorted(
        number for name in await store.children(root) if (number := unsigned(name)) is not None
    )
    addresses = await store.read_many(f"{root}/{number}/mac" for number in numbers)
    for number, text in zip(numbers, addresses, strict=True):
        if text is not None and wanted is not None and mac.parse(text) == wanted:
            return number
    return None


async def detach(toolstack: Toolstack, store: Store, device: Device) -> list[str]:
    """``xl network-detach``; returns what libxl has to say about it.

    A guest that does not let go of it in time is not asked any more.

    Raises: ToolstackError in xl's words, exit code 1, when the backend does not close even so.
    """
    failed = "libxl_device_nic_del failed."
    # One that has begun is carried to its end: half of a device is of no use.
    with anyio.CancelScope(shield=True), toolstack.changing(device):
        said = await devices.remove(toolstack, store, device, failed, devices.Force.AUTO)
    guest = toolstack.guest(device.domid)
    if guest is not None:
        guest.nics.pop(device.devid, None)
    return said
