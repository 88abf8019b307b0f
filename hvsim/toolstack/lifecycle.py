"""What happens when a domain stops: on_poweroff, on_reboot, on_crash (xl_vmcontrol.c).

One watch on @releaseDomain tells that some domain stopped or is gone; which one is found by
looking at all of them.
"""

from collections.abc import Callable
from typing import Final

import anyio
from anyio.abc import TaskGroup

from hvsim.abi.sched import (
    SHUTDOWN_crash,
    SHUTDOWN_poweroff,
    SHUTDOWN_reboot,
    SHUTDOWN_suspend,
    SHUTDOWN_watchdog,
)
from hvsim.domain.hypercall import HypercallError
from hvsim.domain.xenbus import requests
from hvsim.domain.xenbus.requests import StoreDisconnected, StoreError
from hvsim.toolstack.attached import config_now, refresh
from hvsim.toolstack.config import ConfigError
from hvsim.toolstack.context import Guest, Toolstack
from hvsim.toolstack.create import create, create_parsed
from hvsim.toolstack.destroy import destroy
from hvsim.toolstack.errors import ToolstackError
from hvsim.toolstack.hypervisor import DomainInfo
from hvsim.toolstack.layout import domain_path
from hvsim.toolstack.monitor import OVER, waits
from hvsim.toolstack.recovery import rebuild_until_done

_EVENTS: Final = {
    SHUTDOWN_poweroff: "on_poweroff",
    SHUTDOWN_reboot: "on_reboot",
    SHUTDOWN_crash: "on_crash",
    SHUTDOWN_watchdog: "on_watchdog",
}


async def watch_domains(toolstack: Toolstack, tasks: TaskGroup) -> None:
    """Act upon every domain that stops; runs until it is cancelled, or the store is lost."""
    try:
        async with toolstack.store() as store, store.watching("@releaseDomain") as watch:
            toolstack.look = lambda: _look(toolstack, tasks)
            while True:
                await watch.next()
                _look(toolstack, tasks)
                toolstack.notice()
    except StoreDisconnected as gone:
        toolstack.dom.log(f"domains that stop are not seen to any more: {gone}")


def _look(toolstack: Toolstack, tasks: TaskGroup) -> None:
    infos = {info.domid: info for info in toolstack.hypervisor.domains()}
    for guest in list(toolstack.guests.values()):
        if guest.handled or guest.failure:
            continue  # what cannot be started is not started again
        if not guest.started.is_set():
            continue  # whether it crashed or never ran is not known yet; then we look again
        info = infos.get(guest.domid)
        if info is not None and info.shutdown:
            if not guest.monitored and not toolstack.stopping:
                continue  # it stays as it is, until somebody destroys it
            guest.handled = True
            tasks.start_soon(_act, toolstack, guest, info)
        elif info is None or info.dying:
            guest.handled = True
            tasks.start_soon(_forget, toolstack, guest)


async def _act(toolstack: Toolstack, guest: Guest, info: DomainInfo) -> None:
    """Do what the config says about the reason that *guest* shut down for."""
    log = _say(toolstack, guest)
    if guest.monitor is not None:
        guest.monitor.acting = True
    reason = info.shutdown_reason if info.shutdown_reason is not None else SHUTDOWN_crash
    log(f"Domain {guest.domid} has shut down, reason code {reason} {reason:#x}")
    try:
        if guest.request.restart == "always" and not toolstack.stopping:
            await rebuild_until_done(toolstack, guest)
            return
        if reason == SHUTDOWN_suspend:
            return  # whoever suspended it goes on with it
        action = guest.config.actions[_EVENTS.get(reason, "on_crash")]
        if toolstack.stopping:
            action = "destroy"
        log(f"Action for shutdown reason code {reason} is {action}")
        await _do(toolstack, guest, action)
    except (ToolstackError, ConfigError, StoreError, HypercallError, OSError) as failure:
        log(f"{guest.name}: acting on its shutdown: {failure}")
    finally:
        if guest.monitor is not None:
            guest.monitor.acting = False
        toolstack.notice()


def _say(toolstack: Toolstack, guest: Guest) -> Callable[[str], None]:
    """What tells of *guest*: to the toolstack's log, and to who waits for its end."""

    def say(text: str) -> None:
        toolstack.dom.log(text)
        if guest.monitor is not None:
            guest.monitor.lines.append(text)

    return say


async def _do(toolstack: Toolstack, guest: Guest, action: str) -> None:
    log = _say(toolstack, guest)
    if action == "preserve":
        log(OVER)
        return
    if action == "rename-restart":
        await _rename(toolstack, guest)
        await create(toolstack, guest.request)
        return
    async with toolstack.store() as store:
        await refresh(toolstack, store, guest)
    log(f"Domain {guest.domid} needs to be cleaned up: destroying the domain")
    await destroy(toolstack, guest.domid)
    if action in ("restart", "coredump-restart", "soft-reset"):
        log("Done. Rebooting now")
        config = config_now(guest)
        again = await create_parsed(toolstack, guest.request, config, uuid=guest.uuid)
        again.restarts = guest.restarts + 1
        again.monitor = guest.monitor
        _say(toolstack, again)(waits(again))
    else:
        log(OVER)


async def _rename(toolstack: Toolstack, guest: Guest) -> None:
    """Put a stopped domain aside under another name, so that a new one can have its own."""
    taken = {known.name for known in toolstack.guests.values()}
    number = next(n for n in range(1, len(taken) + 2) if f"{guest.name}-{n}" not in taken)
    name = f"{guest.name}-{number}"
    async with toolstack.store() as store:
        await store.call(requests.write(f"{domain_path(guest.domid)}/name", name))
    guest.name = name


async def _forget(toolstack: Toolstack, guest: Guest) -> None:
    """A domain vanished without the toolstack: remove what the store still has of it."""
    from hvsim.toolstack.destroy import erase

    try:
        async with toolstack.store() as store:
            await erase(toolstack, store, guest.domid)
    except (ToolstackError, StoreError, OSError) as failure:
        toolstack.dom.log(f"{guest.name}: removing what is left of it: {failure}")
    finally:
        toolstack.guests.pop(guest.domid, None)
        toolstack.notice()


async def ask(toolstack: Toolstack, domid: int, command: str, timeout: float) -> bool:
    """Write *command* into control/shutdown and wait until the guest has taken it.

    Returns whether it did, within *timeout* seconds.
    """
    node = f"{domain_path(domid)}/control/shutdown"
    async with toolstack.store() as store:
        await store.write(node, command)
        try:
            await store.wait_for(node, lambda value: value in ("", None), timeout)
        except TimeoutError:
            return False
    return True


async def wait_for_end(toolstack: Toolstack, domids: set[int], timeout: float) -> set[int]:
    """Wait until none of *domids* runs; returns those that still do after *timeout* seconds."""
    left = set(domids)
    with anyio.move_on_after(timeout):
        while True:
            event = toolstack.changed
            infos = {info.domid: info for info in toolstack.hypervisor.domains()}
            left = {d for d in left if d in infos and not infos[d].dying}
            if not left:
                break
            await event.wait()
    return left
