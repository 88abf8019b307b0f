"""A driver domain that died is built again, and its frontends are sent to the new one.

Real libxl has nothing of the kind: there a new driver domain has a new number and the frontends go
on looking at the old one for ever (surprises 41 and 42 of a real host).

    1  the dead domain is destroyed; its tree goes, and with it the backends' halves
    2  a domain is built from the same request and runs at once
    3  for each frontend that the dead one served, one transaction: the backend's half in the tree
       of the new domain, then ``backend-id``, ``state`` = 1 and last ``backend`` of the frontend

The frontend keeps unanswered requests, connects to the new backend, and issues them again.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import anyio

from hvsim.domain.hypercall import HypercallError
from hvsim.domain.restarts import given_up
from hvsim.toolstack.config import ConfigError
from hvsim.toolstack.devices import hotplug, lending
from hvsim.toolstack.devices import layout as device_layout
from hvsim.toolstack.devices.attached import keep_devices, refresh
from hvsim.toolstack.domain.create import create
from hvsim.toolstack.domain.destroy import destroy
from hvsim.toolstack.host import trouble
from hvsim.toolstack.host.context import Disk, Guest, Nic, Toolstack
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.store import Store
from hvsim.toolstack.host.waiting import NOBODY, waiting
from hvsim.xs.requests import StoreError


async def rebuild(toolstack: Toolstack, dead: Guest) -> Guest | None:
    """Build *dead* again and move its frontends; None when the lab is stopping meanwhile.

    Raises: ToolstackError, ConfigError when it cannot be built; its frontends wait on then.
    """
    async with toolstack.store() as store:
        await refresh(toolstack, store)
    served = list(served_by(toolstack, dead.domid))
    if toolstack.hypervisor.info(dead.domid) is not None:  # a former attempt came this far
        await destroy(toolstack, dead.domid, again=True)
    if toolstack.stopping:
        return None
    guest = await create(toolstack, dead.request, uuid=dead.uuid, hasty=True, instead_of=dead)
    await hand_over(toolstack, served, guest)
    toolstack.notes.drop(dead.domid, dead.uuid)
    guest.replaces = None
    toolstack.keep(guest)
    toolstack.notice()
    return guest


async def hand_over(
    toolstack: Toolstack, served: Iterable[tuple[Guest, Disk | Nic]], guest: Guest
) -> None:
    """Send the frontends of a dead domain to *guest*, which takes its place."""
    async with toolstack.store() as store:
        for owner, attached in served:
            if toolstack.guests.get(owner.domid) is owner:
                lending.lend(
                    toolstack, replace(attached.device, backend_domid=guest.domid), attached.half
                )
                await move(store, owner, attached, guest.domid)
                await hotplug.elsewhere(toolstack, attached.device, attached.half)
                await keep_devices(toolstack, owner, [attached])


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
        batch = device_layout.move(old, new, attached.half, keys)
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


async def rebuild_until_done(toolstack: Toolstack, dead: Guest, delay: float | None) -> None:
    """Build *dead* again after *delay* seconds, trying again while that fails, and no more when it
    has failed or died too often (``Restarts``: None); the lab's end stops it."""
    log = toolstack.dom.log
    began = anyio.current_time()
    served = list(served_by(toolstack, dead.domid))
    last = ""
    while not toolstack.stopping:
        if delay is None:
            give_up(toolstack, dead, last)
            return
        if delay:
            with waiting(f"the time to build {dead.name} again", NOBODY, delay):
                await anyio.sleep(delay)
        try:
            guest = await rebuild(toolstack, dead)
        except (ToolstackError, ConfigError, StoreError, HypercallError, OSError) as failure:
            last = str(failure).replace("\n", "; ")
            log(f"{dead.name}: rebuilding failed: {last}")
            delay = dead.lives.died(anyio.current_time())
            continue
        if guest is not None:
            took = (anyio.current_time() - began) * 1000
            log(
                f"{dead.name}: domain {dead.domid} died and was rebuilt as {guest.domid}, "
                f"{len(served)} devices moved, {took:.0f} ms"
            )
        return


def was_struck(toolstack: Toolstack, domid: int) -> bool:
    """Whether somebody asked for the end of a domain's main process (``hvsim fault kill``)."""
    rows = (row for row in toolstack.hypervisor.processes() if row["domid"] == domid)
    return any(row["struck"] for row in rows if row["process"] == "main")


def give_up(toolstack: Toolstack, dead: Guest, last: str = "") -> None:
    """*dead* is not made again any more: what is left of it stays, and everybody is told.

    *last*: what went wrong last, when that was not what the domain itself said.
    """
    said = trouble.last_words_in(toolstack.hypervisor.console(False), dead.domid)
    text = f"{given_up(dead.name, last or said)}; `hvsim xl dmesg` and its console's log say more"
    dead.gave_up, toolstack.dead[dead.domid] = text, dead
    toolstack.dom.log(text)
    toolstack.hypervisor.note("toolstack.given-up", dead.domid, text)
    there = toolstack.hypervisor.info(dead.domid) is not None
    toolstack.keep(dead, "built" if there else "again")
    toolstack.notice()
