"""The end of a domain: its devices, its nodes, the domain itself (libxl_domain.c, libxl_device.c).

The three deaths of a device differ (surprise 16 of a real host): here, at a destroy, the frontend's
directory goes first, then the backend is told; nobody asks the guest.
"""

import contextlib

import anyio

from hvsim.abi import errno
from hvsim.domain.hypercall import HypercallError
from hvsim.domain.xenbus import requests
from hvsim.toolstack import device as devices
from hvsim.toolstack import device_model, hotplug, libxl_log
from hvsim.toolstack.context import Toolstack
from hvsim.toolstack.errors import ToolstackError, absent
from hvsim.toolstack.layout import Device, domain_path, libxl_path
from hvsim.toolstack.store import Store, remove_with_empty_parents

DESTROY_ATTEMPTS = 20
"""How often the hypervisor is asked to end a domain whose processes do not go."""


async def destroy(toolstack: Toolstack, domid: int) -> None:
    """Destroy a domain and remove all that the store has of it.

    Raises: ToolstackError with libxl's three lines when there is no such domain.
    """
    info = toolstack.hypervisor.info(domid)
    if info is None:
        raise ToolstackError(*absent(domid))
    guest = toolstack.guests.get(domid)
    if guest is not None:
        guest.handled = True
    try:
        toolstack.hypervisor.pause(domid)  # it must not see its devices go
    except HypercallError as failure:
        if failure.errno not in (errno.ESRCH, errno.EINVAL):
            raise
    async with toolstack.store() as store:
        await erase(toolstack, store, domid)
    toolstack.guests.pop(domid, None)
    toolstack.notice()


async def erase(toolstack: Toolstack, store: Store, domid: int) -> None:
    """The devices, the nodes and the domain, in libxl's order."""
    root = f"{libxl_path(domid)}/device"
    split = await _devices(store, domid, "vbd")
    for device in split:
        await devices.begin_close(store, device, frontend_first=True)
    for device in await _devices(store, domid, "console"):
        await devices.forget(store, device)
    vifs = await _devices(store, domid, "vif")
    for device in vifs:
        await devices.begin_close(store, device, frontend_first=True)
    split += vifs
    async with anyio.create_task_group() as tasks:
        for device in split:
            tasks.start_soon(_closed, store, device)
    for device in split:
        await _finish(toolstack, store, device)
    await device_model.stop(toolstack, store, domid)
    await _sweep(store, root)
    dom = domain_path(domid)
    vm = await store.read(f"{dom}/vm")
    batch = [requests.rm(vm)] if vm and vm.startswith("/vm/") else []
    batch += [requests.rm(dom), requests.rm(libxl_path(domid)), requests.rm(f"{dom}/hvmloader")]
    await store.batch(batch)
    toolstack.images.release(domid)
    toolstack.libxl_files.destroy(domid, (vm or "").removeprefix("/vm/") or "*")
    await end(toolstack, domid)


async def end(toolstack: Toolstack, domid: int) -> None:
    """The domain itself, not its nodes; asked for again while its processes are still ending."""
    for _ in range(DESTROY_ATTEMPTS):
        try:
            toolstack.hypervisor.destroy(domid)
            return
        except HypercallError as failure:
            if failure.errno == errno.ESRCH:
                return
            if failure.errno != errno.EAGAIN:
                raise
        await anyio.sleep(0.05)
    raise ToolstackError(*absent(domid)[1:])


async def _devices(store: Store, domid: int, kind: str) -> list[Device]:
    """The devices that libxl's own records have of a domain."""
    root = f"{libxl_path(domid)}/device/{kind}"
    names = [name for name in await store.children(root) if name.isdecimal()]
    backends = await store.read_many(f"{root}/{name}/backend" for name in names)
    found = []
    for name, backend in zip(names, backends, strict=True):
        device = devices.of_backend(domid, kind, int(name), backend)
        if device is not None:
            found.append(device)
    return found


async def _closed(store: Store, device: Device) -> None:
    with contextlib.suppress(TimeoutError):  # a silent backend does not keep it from going
        await devices.wait_closed(store, device)


async def _finish(toolstack: Toolstack, store: Store, device: Device) -> None:
    if device.backend_kind != devices.QDISK:
        try:
            await hotplug.remove(toolstack, device)
        except ToolstackError as failure:  # said, and the device goes all the same
            await libxl_log.error(*failure.lines)
    await devices.forget(store, device)


async def _sweep(store: Store, root: str) -> None:
    """The last step of libxl's devices: directories that are left without a child."""

    async def sweep(tx: int) -> None:
        for path in (root, f"{domain_path(0)}/backend"):
            value = await store.read(path, tx)
            if value == "" and not await store.children(path, tx):
                await remove_with_empty_parents(store, tx, path)

    await store.transaction(sweep, f"sweeping {root}")
