"""A driver domain that died is built again, and its frontends are sent to the new one.

1  the dead domain is destroyed; its tree goes, and with it the backends' halves
2  a domain is built from the same request and runs at once
3  each frontend that the dead one served is given to it (`devices/move.py`)
"""

import anyio

from hvsim.domain.hypercall import HypercallError
from hvsim.domain.restarts import given_up
from hvsim.toolstack.config import ConfigError
from hvsim.toolstack.devices.attached import refresh
from hvsim.toolstack.devices.hand_over import hand_over, served_by
from hvsim.toolstack.domain.create import create
from hvsim.toolstack.domain.destroy import destroy
from hvsim.toolstack.host import trouble
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.guest import Guest
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
    guest = _heir(toolstack, dead)
    if guest is None:
        guest = await create(toolstack, dead.request, uuid=dead.uuid, hasty=True, instead_of=dead)
    await hand_over(toolstack, served, guest)
    toolstack.notes.drop(dead.domid, dead.uuid)
    guest.replaces = None
    toolstack.keep(guest)
    toolstack.notice()
    return guest


def _heir(toolstack: Toolstack, dead: Guest) -> Guest | None:
    """Its next life, where a former attempt made that and could not give it every frontend."""
    known = (dead.uuid, dead.name)
    lives = (one for one in toolstack.guests.values() if one is not dead)
    built = (one for one in lives if one.stage == "built" and (one.uuid, one.name) == known)
    return next(built, None)


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
