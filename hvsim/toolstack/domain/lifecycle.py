"""What happens when a domain stops: on_poweroff, on_reboot, on_crash (xl_vmcontrol.c).

One watch on @releaseDomain tells that some domain stopped or is gone; which one is found by
looking at all of them.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import anyio

from hvsim.abi.sched import (
    SHUTDOWN_crash,
    SHUTDOWN_poweroff,
    SHUTDOWN_reboot,
    SHUTDOWN_suspend,
    SHUTDOWN_watchdog,
)
from hvsim.domain.hypercall import HypercallError
from hvsim.toolstack.config import ConfigError, DomainConfig
from hvsim.toolstack.devices.attached import config_now, refresh
from hvsim.toolstack.domain.create import config_of, create, create_parsed
from hvsim.toolstack.domain.destroy import destroy, erase
from hvsim.toolstack.domain.monitor import OVER, waits
from hvsim.toolstack.domain.recovery import give_up, rebuild_until_done, was_struck
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.guest import Guest
from hvsim.toolstack.host.hypervisor import DomainInfo
from hvsim.toolstack.host.nodes import domain_path
from hvsim.toolstack.host.waiting import NOBODY, Ending, Other, Several, waiting
from hvsim.xs import requests
from hvsim.xs.requests import StoreDisconnected, StoreError

_EVENTS: Final = {
    SHUTDOWN_poweroff: "on_poweroff",
    SHUTDOWN_reboot: "on_reboot",
    SHUTDOWN_crash: "on_crash",
    SHUTDOWN_watchdog: "on_watchdog",
}


async def watch_domains(toolstack: Toolstack) -> None:
    """Act upon every domain that stops; runs until it is cancelled, or the store is lost."""
    try:
        async with toolstack.store() as store, store.watching("@releaseDomain") as watch:
            toolstack.look = lambda: _look(toolstack)
            while True:
                await watch.next()
                _look(toolstack)
                toolstack.notice()
    except StoreDisconnected as gone:
        toolstack.dom.log(f"domains that stop are not seen to any more: {gone}")


def _look(toolstack: Toolstack) -> None:
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
            what = f"acting on the shutdown of {guest.name}"
            toolstack.begin(what, partial(_act, toolstack, guest, info))
        elif info is None or info.dying:
            guest.handled = True
            what = f"removing what is left of {guest.name}"
            toolstack.begin(what, partial(_forget, toolstack, guest))


async def _act(toolstack: Toolstack, guest: Guest, info: DomainInfo) -> None:
    """Do what the config says about the reason that *guest* shut down for."""
    log = _say(toolstack, guest)
    if guest.monitor is not None:
        guest.monitor.acting = True
    reason = info.shutdown_reason if info.shutdown_reason is not None else SHUTDOWN_crash
    log(f"Domain {guest.domid} has shut down, reason code {reason} {reason:#x}")
    try:
        if guest.request.restart == "always" and not toolstack.stopping:
            await rebuild_until_done(toolstack, guest, _died(toolstack, guest))
            return
        if reason == SHUTDOWN_suspend:
            return  # whoever suspended it goes on with it
        action = guest.config.actions[_EVENTS.get(reason, "on_crash")]
        if toolstack.stopping:
            action = "destroy"
        log(f"Action for shutdown reason code {reason} is {action}")
        await _do(toolstack, guest, action, reason in (SHUTDOWN_crash, SHUTDOWN_watchdog))
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


def _died(toolstack: Toolstack, guest: Guest) -> float | None:
    """After how many seconds a domain that has died is made again; None: never."""
    return guest.lives.died(anyio.current_time(), struck=was_struck(toolstack, guest.domid))


async def _do(toolstack: Toolstack, guest: Guest, action: str, crashed: bool) -> None:
    log = _say(toolstack, guest)
    if action == "preserve":
        toolstack.keep(guest)
        log(OVER)
        return
    if action == "rename-restart":
        await _rename(toolstack, guest)
        await create(toolstack, guest.request)
        toolstack.keep(guest)
        return
    again = action in ("restart", "coredump-restart", "soft-reset")
    if again and crashed:
        delay = _died(toolstack, guest)
        if delay is None:
            give_up(toolstack, guest)
            return
        with waiting(f"the time to make {guest.name} again", NOBODY, delay):
            await anyio.sleep(delay)
    async with toolstack.store() as store:
        await refresh(toolstack, store, guest)
    config = config_now(guest)
    log(f"Domain {guest.domid} needs to be cleaned up: destroying the domain")
    await destroy(toolstack, guest.domid, again=again)
    if again:
        log("Done. Rebooting now")
        if not crashed:
            guest.lives.count += 1
        new = await reborn(toolstack, guest, config)
        new.monitor = guest.monitor
        _say(toolstack, new)(waits(new))
    else:
        log(OVER)


async def reborn(toolstack: Toolstack, dead: Guest, config: DomainConfig | None = None) -> Guest:
    """Make a domain again that was destroyed for that; by *config*, where it is known what was
    attached last, else as it was asked for.

    Raises: as ``create``.
    """
    try:
        config = config or config_of(dead.request)
        request = dead.request
        new = await create_parsed(toolstack, request, config, uuid=dead.uuid, instead_of=dead)
        new.replaces = None
        toolstack.keep(new)
        return new
    finally:
        toolstack.notes.drop(dead.domid, dead.uuid)


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
    try:
        async with toolstack.store() as store:
            await erase(toolstack, store, guest.domid)
    except (ToolstackError, StoreError, OSError) as failure:
        toolstack.dom.log(f"{guest.name}: removing what is left of it: {failure}")
    finally:
        toolstack.guests.pop(guest.domid, None)
        toolstack.notes.drop(guest.domid, guest.uuid)
        toolstack.notice()


async def ask(toolstack: Toolstack, domid: int, command: str, timeout: float) -> bool:
    """Write *command* into control/shutdown and wait until the guest has taken it.

    Returns whether it did, within *timeout* seconds.  Who does not want to wait any longer
    (cancels) does not want it to happen later either: the request is taken back.
    """
    node = f"{domain_path(domid)}/control/shutdown"
    async with toolstack.store() as store:
        await store.write(node, command)
        try:
            await store.wait_for(
                node,
                lambda value: value in ("", None),
                timeout,
                f"domain {domid} to take the {command} request from control/shutdown",
                Other(domid),
            )
        except TimeoutError:
            return False
        except anyio.get_cancelled_exc_class():
            what = f"taking the {command} request back from domain {domid}"
            toolstack.begin(what, partial(_take_back, toolstack, node, command))
            raise
    return True


async def _take_back(toolstack: Toolstack, node: str, command: str) -> None:
    async def change(tx: int) -> None:
        if await store.read(node, tx) == command:
            await store.apply([requests.write(node, "")._replace(tx=tx)])

    try:
        async with toolstack.store() as store:
            await store.transaction(change, f"taking {node} back")
    except (ToolstackError, StoreError, OSError) as failure:
        toolstack.dom.log(f"{node}: {failure}")


async def wait_for_end(toolstack: Toolstack, domids: set[int], timeout: float) -> set[int]:
    """Wait until none of *domids* runs; returns those that still do after *timeout* seconds."""
    left = set(domids)
    party = Several(tuple(Ending(domid) for domid in sorted(left)))
    with waiting("the end of the guests", party, timeout), anyio.move_on_after(timeout):
        while True:
            event = toolstack.changed
            infos = {info.domid: info for info in toolstack.hypervisor.domains()}
            left = {d for d in left if d in infos and not infos[d].dying}
            if not left:
                break
            await event.wait()
    return left
