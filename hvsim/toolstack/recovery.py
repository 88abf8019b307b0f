"""A driver domain that died is built again, and its frontends are sent to the new one.

Real libxl has nothing of the kind: there a new driver domain has a new number and the frontends go
on looking at the old one for ever (surprises 41 and 42 of a real host).

    1  the dead domain is destroyed; its tree goes, and with it the backends' halves
    2  a domain is built from the same request and runs at once
    3  for each frontend that the dead one served, one transaction: the backend's half in the tree
       of the new domain, then ``backend-id``, ``state`` = 1 and last ``backend`` of the frontend

The frontend keeps unanswered requests, connects to the new backend, and issues them again.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import anyio

from hvsim.domain.hypercall import HypercallError
from hvsim.domain.xenbus.requests import StoreError
from hvsim.toolstack import hotplug, layout, lending
from hvsim.toolstack.attached import keep_devices, refresh
from hvsim.toolstack.config import ConfigError
from hvsim.toolstack.context import Disk, Guest, Nic, Toolstack
from hvsim.toolstack.create import create
from hvsim.toolstack.destroy import destroy
from hvsim.toolstack.errors import ToolstackError
from hvsim.toolstack.layout import domain_path
from hvsim.toolstack.store import Store

FIRST_DELAY: Final = 0.1
MAX_DELAY: Final = 5.0
"""Seconds between rebuilds of a domain that dies before it ever was ready."""


async def rebuild(toolstack: Toolstack, dead: Guest) -> Guest | None:
    """Build *dead* again and move its frontends; None when the lab is stopping meanwhile.

    Raises: ToolstackError, ConfigError when it cannot be built; its frontends wait on then.
    """
    async with toolstack.store() as store:
        await refresh(toolstack, store)
    served = list(served_by(toolstack, dead.domid))
    failures = await _failures(toolstack, dead)
    if toolstack.hypervisor.info(dead.domid) is not None:  # a former attempt came this far
        await destroy(toolstack, dead.domid)
    if failures:
        await anyio.sleep(min(MAX_DELAY, FIRST_DELAY * 2 ** (failures - 1)))
    if toolstack.stopping:
        return None
    guest = await create(toolstack, dead.request, uuid=dead.uuid, hasty=True)
    guest.restarts = dead.restarts + 1
    guest.failures = failures
    async with toolstack.store() as store:
        for owner, attached in served:
            if toolstack.guests.get(owner.domid) is owner:
                lending.lend(
                    toolstack, replace(attached.device, backend_domid=guest.domid), attached.half
                )
                await move(store, owner, attached, guest.domid)
                await hotplug.elsewhere(toolstack, attached.device, attached.half)
                await keep_devices(toolstack, owner, [attached])
    toolstack.notice()
    return guest


def served_by(toolstack: Toolstack, domid: int) -> Iterator[tuple[Guest, Disk | Nic]]:
    """Every device that domain *domid* serves, with the guest that uses it."""
    for guest in toolstack.guests.values():
        for attached in guest.devices:
            if attached.device.backend_domid == domid:
                yield guest, attached


async def move(store: Store, owner: Guest, attached: Disk | Nic, backend_domid: int) -> None:
    """Give a device of *owner* to the backend in *backend_domid*.  Raises: StoreError."""
    old = attached.device
    new = replace(old, backend_domid=backend_domid)

    async def change(tx: int) -> None:
        keys = await _keys(store, tx, old.frontend)
        if not keys:
            return  # the guest's half has gone meanwhile
        batch = layout.move(old, new, attached.half, keys)
        await store.apply([request._replace(tx=tx) for request in batch])

    await store.transaction(change, f"moving {old.frontend} of {owner.name}")
    attached.device = new


async def _keys(store: Store, tx: int, frontend: str) -> list[str]:
    """The nodes of a frontend's directory; a queue's are one level deeper."""
    keys = await store.children(frontend, tx)
    queues = [key for key in keys if key.startswith("queue-")]
    for queue in queues:
        keys += [f"{queue}/{key}" for key in await store.children(f"{frontend}/{queue}", tx)]
    return keys


async def _failures(toolstack: Toolstack, dead: Guest) -> int:
    """How often in a row the domain died without ever having been ready."""
    async with toolstack.store() as store:
        health = await store.read(f"{domain_path(dead.domid)}/data/health")
    return 0 if health == "ok" else dead.failures + 1


async def rebuild_until_done(toolstack: Toolstack, dead: Guest) -> None:
    """Build *dead* again, trying again while that fails; the lab's end stops it."""
    log = toolstack.dom.log
    began = time.monotonic()
    served = list(served_by(toolstack, dead.domid))
    attempt = 0
    while not toolstack.stopping:
        try:
            guest = await rebuild(toolstack, dead)
        except (ToolstackError, ConfigError, StoreError, HypercallError, OSError) as failure:
            attempt += 1
            log(f"{dead.name}: rebuilding failed (attempt {attempt}): {failure}")
            dead.failures = max(dead.failures, attempt)
            await anyio.sleep(min(MAX_DELAY, FIRST_DELAY * 2**attempt))
            continue
        if guest is not None:
            took = (time.monotonic() - began) * 1000
            log(
                f"{dead.name}: domain {dead.domid} died and was rebuilt as {guest.domid}, "
                f"{len(served)} devices moved, {took:.0f} ms"
            )
        return
