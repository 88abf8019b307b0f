"""The end of a domain: its devices, its nodes, the domain itself (libxl_domain.c, libxl_device.c).

The three deaths of a device differ (surprise 16 of a real host): here, at a destroy, the frontend's
directory goes first, then the backend is told; nobody asks the guest.

A destroy that has begun is carried to its end, whether who asked for it still waits or not: a
domain that is half gone is of no use.  Where the store stands still it goes on when that does.
"""

import contextlib
from functools import partial

import anyio

from hvsim.abi import errno
from hvsim.domain.hypercall import HypercallError
from hvsim.linux import proc
from hvsim.toolstack.devices import device_model, hotplug, types
from hvsim.toolstack.devices.backend import party
from hvsim.toolstack.devices.detach import begin_close, forget, wait_closed
from hvsim.toolstack.devices.device_type import DeviceType
from hvsim.toolstack.host import libxl_log
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.device import Device
from hvsim.toolstack.host.errors import ToolstackError, absent
from hvsim.toolstack.host.job import Job
from hvsim.toolstack.host.nodes import domain_path, libxl_path
from hvsim.toolstack.host.store import Store, StoreSilent, remove_with_empty_parents
from hvsim.toolstack.host.waiting import NOBODY, Work, waiting
from hvsim.xs import requests

DESTROY_ATTEMPTS = 20
"""How often the hypervisor is asked to end a domain whose processes do not go."""


async def destroy(toolstack: Toolstack, domid: int, *, again: bool = False) -> None:
    """Destroy a domain and remove all that the store has of it.

    Args:
        again: it is to be made anew; its note stays until that is done.

    Raises: ToolstackError with libxl's three lines when there is no such domain.
    """
    if toolstack.hypervisor.info(domid) is None:
        raise ToolstackError(*absent(domid))
    guest = toolstack.guests.get(domid)
    if guest is not None:
        guest.handled = True
        toolstack.keep(guest, "again" if again else "ending")
    await finish(toolstack, domid)


async def finish(toolstack: Toolstack, domid: int) -> None:
    """Carry the end of a domain out, or wait for it when that is under way.

    Raises: ToolstackError, StoreError, HypercallError, OSError.
    """
    job, name = toolstack.ending.get(domid), f"destroying domain {domid}"
    if job is None:
        job = toolstack.ending[domid] = Job()
        toolstack.begin(name, partial(_run, toolstack, domid, job))
    with waiting(f"the end of domain {domid}", Work(name, toolstack.working)):
        await job.wait()


async def _run(toolstack: Toolstack, domid: int, job: Job) -> None:
    failure: Exception | None = None
    try:
        await _destroy(toolstack, domid)
    except Exception as error:  # for whoever waits; nobody else is the worse for it
        failure = error
        toolstack.dom.log(f"destroying domain {domid}: {error}")
    finally:
        del toolstack.ending[domid]
        job.end(failure)
        toolstack.notice()


async def _destroy(toolstack: Toolstack, domid: int) -> None:
    trouble = toolstack.census().domain(domid)  # while it can still be told
    crashed = trouble.text if trouble is not None and trouble.what == "crashed" else ""
    try:
        with waiting(f"domain {domid} to stand still", NOBODY):
            await toolstack.hypervisor.pause(domid)  # it must not see its devices go
    except HypercallError as failure:
        if failure.errno not in (errno.ESRCH, errno.EINVAL):
            raise
    while True:
        try:
            async with toolstack.store() as store:
                await erase(toolstack, store, domid)
            break
        except StoreSilent as silent:
            toolstack.dom.log(f"destroying domain {domid}: {silent}; it goes on when that does")
    guest = toolstack.guests.pop(domid, None)
    if guest is not None:
        toolstack.depart(guest, crashed or f"{guest.name} (domain {domid}) has ended")
        if guest.stage != "again":
            toolstack.notes.drop(domid, guest.uuid)


async def erase(toolstack: Toolstack, store: Store, domid: int) -> None:
    """The devices, the nodes and the domain, in libxl's order."""
    root = f"{libxl_path(domid)}/device"
    split: list[tuple[DeviceType, Device]] = []
    for kind in types.known(toolstack):
        for device in await kind.all_of(store, domid):
            if kind.has_handshake:
                await begin_close(store, device, frontend_first=True)
                split.append((kind, device))
            else:
                await forget(store, device)
    async with anyio.create_task_group() as tasks:
        for _, device in split:
            tasks.start_soon(_closed, toolstack, store, device)
    for kind, device in split:
        await _finish(toolstack, store, kind, device)
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
            with waiting(f"the processes of domain {domid} to be gone", NOBODY):
                await toolstack.hypervisor.destroy(domid)
            return
        except HypercallError as failure:
            if failure.errno == errno.ESRCH:
                return
            if failure.errno != errno.EAGAIN:
                raise
        await anyio.sleep(0.05)
    pids = ", ".join(
        f"{row['process']} (pid {row['pid']}, state {proc.state(int(row['pid'])) or '?'})"
        for row in toolstack.hypervisor.processes()
        if row["domid"] == domid and row["alive"]
    )
    raise ToolstackError(*absent(domid)[1:], f"xl: these processes of it do not end: {pids}")


async def _closed(toolstack: Toolstack, store: Store, device: Device) -> None:
    """Wait for the backend; one that is silent, or known to stand still, keeps nobody from going.

    A silent store is met again by the next request."""
    trouble = party(device).trouble(toolstack.census())
    if trouble is None or not trouble.lasting:
        with contextlib.suppress(TimeoutError, StoreSilent):
            await wait_closed(store, device, party(device))


async def _finish(toolstack: Toolstack, store: Store, kind: DeviceType, device: Device) -> None:
    try:
        await hotplug.remove(toolstack, kind, device)
    except ToolstackError as failure:  # said, and the device goes all the same
        await libxl_log.error(*failure.lines)
    await forget(store, device)


async def _sweep(store: Store, root: str) -> None:
    """The last step of libxl's devices: directories that are left without a child."""

    async def sweep(tx: int) -> None:
        for path in (root, f"{domain_path(0)}/backend"):
            value = await store.read(path, tx)
            if value == "" and not await store.children(path, tx):
                await remove_with_empty_parents(store, tx, path)

    await store.transaction(sweep, f"sweeping {root}")
