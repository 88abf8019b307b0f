"""Attaching a device, with libxl's steps, waits and words (libxl_device.c), the same for each."""

from collections.abc import Awaitable, Callable

from hvsim.toolstack.devices import backend as backends
from hvsim.toolstack.devices import hotplug, lending, nodes, quota_hint
from hvsim.toolstack.devices.detach import forget
from hvsim.toolstack.devices.device_type import DeviceType
from hvsim.toolstack.host import libxl_log
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.device import Attached
from hvsim.toolstack.host.errors import ToolstackError, libxl
from hvsim.toolstack.host.guest import Guest
from hvsim.toolstack.host.store import Store


async def attach(
    toolstack: Toolstack,
    store: Store,
    guest: Guest,
    kind: DeviceType,
    plan: Callable[[], Awaitable[Attached]],
) -> Attached:
    """``xl block-attach`` and its like.

    As in xl, a device whose hotplug failed may stay in the store half made (``keeps_failed``).

    Args:
        plan: says where the device will stand.  Raises ToolstackError.

    Raises: ToolstackError in xl's words, exit code 1.
    """
    failed = f"libxl_device_{kind.noun}_add failed."
    try:
        attached = await plan()
        await kind.may_attach(store, attached)
    except ToolstackError as error:
        early = libxl("libxl_device.c:1486:device_addrm_aocomplete: unable to add device")
        raise ToolstackError(*error.lines, early, failed) from None
    device = attached.device
    left = kind.keeps_failed
    try:
        with toolstack.changing(device):
            await make(toolstack, store, kind, attached)
        left = True
    except ToolstackError as error:
        left = left and not isinstance(error, backends.Unserved)
        late = libxl(
            f"libxl_device.c:1481:device_addrm_aocomplete: Domain {device.domid}:Unable to add "
            f"{device.kind} with id {device.devid}"
        )
        raise ToolstackError(*error.lines, late, failed) from None
    finally:
        if left:
            guest.of(kind.kind)[device.devid] = attached
    return attached


async def make(toolstack: Toolstack, store: Store, kind: DeviceType, attached: Attached) -> None:
    """Take the image of a device, write its nodes, wait for its backend, run its hotplug script.

    Raises: ToolstackError in libxl's words.
    """
    device, image = attached.device, attached.half.image
    if image is None:
        await _make(toolstack, store, kind, attached)
        return
    owner = toolstack.guest(device.domid)
    name = owner.name if owner else str(device.domid)
    refusal = toolstack.images.claim(device.domid, device.devid, name, image)
    if refusal is not None:
        raise refusal.error(device.domid)
    try:
        await _make(toolstack, store, kind, attached)
    except BaseException:
        toolstack.images.release(device.domid, device.devid)
        raise


async def _make(toolstack: Toolstack, store: Store, kind: DeviceType, attached: Attached) -> None:
    device, half = attached.device, attached.half
    lending.lend(toolstack, device, half)
    await backends.make_nodes(toolstack, store, device, nodes.add(device, half))
    if not kind.waited_for(device):
        return
    try:
        await backends.init_wait(toolstack, store, device, held=kind.script is not None)
    except backends.NotServed as failed:
        error = ToolstackError
        if failed.stranger:
            await forget(store, device)  # nobody has touched it, nor ever will
            error = backends.Unserved
        raise error(
            libxl(
                f"libxl_device.c:1109:device_backend_callback: Domain {device.domid}:unable to add "
                f"device with path {device.backend}"
            ),
            libxl(str(failed), "info"),
            *await quota_hint.hint(store, device.backend_domid),
        ) from None
    await libxl_log.unregistered(device)
    await hotplug.add(toolstack, kind, device, half)
