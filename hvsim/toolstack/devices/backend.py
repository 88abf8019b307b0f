"""Waiting for the half of a device that another domain has, and finding out why it does not come.

libxl watches the backend's ``state`` for ten seconds and says "unable to add device".  Here the
wait ends as soon as it is in vain (the backend's domain has crashed or is gone, it serves no
devices of that class, it has said in an error node why it will not), and the reason goes behind
libxl's words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import anyio

from hvsim.abi.xenbus import XenbusState
from hvsim.domain.xenbus.backends import SERVES_KEY
from hvsim.toolstack.devices import nodes
from hvsim.toolstack.host import libxl_log
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.device import Device
from hvsim.toolstack.host.errors import ToolstackError, libxl
from hvsim.toolstack.host.nodes import domain_path
from hvsim.toolstack.host.parts import DOM0
from hvsim.toolstack.host.store import Store
from hvsim.toolstack.host.trouble import Trouble
from hvsim.toolstack.host.waiting import Party, Server
from hvsim.xs.requests import Request, StoreError

INIT_TIMEOUT: Final = 10.0
"""Seconds that a new backend has to reach InitWait (LIBXL_INIT_TIMEOUT)."""
INIT_WAIT: Final = "2"
PAST_IT: Final = ("3", "4")
"""Where a backend may be by the time that it is looked at, when no script holds it in InitWait."""
_HOPELESS: Final = ("crashed", "shutdown", "given-up")
_LOOK: Final = 0.25
"""Seconds between two looks whether the wait is in vain."""


class Unserved(ToolstackError):
    """A device whose backend's domain serves none of its class; nothing of it is left."""


class NotServed(Exception):
    """The backend did not come to InitWait; the text says why.

    Attributes:
        stranger: its domain serves no devices of that class, so that nobody has touched it.
    """

    def __init__(self, text: str, *, stranger: bool = False) -> None:
        super().__init__(text)
        self.stranger = stranger


def party(device: Device) -> Server:
    """Who serves *device*."""
    return Server(device.served_as, device.domid, device.backend_domid)


async def make_nodes(
    toolstack: Toolstack, store: Store, device: Device, batch: Sequence[Request[object]]
) -> None:
    """Write the nodes of a new device, in one transaction.

    Raises: ToolstackError when its backend's domain has gone meanwhile, and its tree with it;
        StoreError.
    """
    where = _where(toolstack, device)
    try:
        await store.commit([*batch, *nodes.made_here(device)], f"adding {_label(device)}")
    except StoreError:
        if toolstack.hypervisor.info(device.backend_domid) is not None:
            raise
        raise ToolstackError(libxl(f"{where} is gone", "info")) from None


async def init_wait(
    toolstack: Toolstack, store: Store, device: Device, *, held: bool = True
) -> None:
    """Wait for the backend of a new device to be in InitWait.

    Args:
        held: it stays there until a hotplug script has run; else it may be past that already.

    Raises: NotServed as soon as that is in vain, or after INIT_TIMEOUT; StoreSilent.
    """
    what = f"the backend of {_label(device)} in {_where(toolstack, device)} to reach InitWait"
    wanted = (INIT_WAIT,) if held else (INIT_WAIT, *PAST_IT)
    where = _where(toolstack, device)
    in_vain: NotServed | None = None

    async def look_out() -> None:
        nonlocal in_vain
        while in_vain is None:
            changed = toolstack.changed
            with anyio.move_on_after(_LOOK):
                await changed.wait()
            in_vain = await _in_vain(toolstack, store, device, where)
        tasks.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look_out)
            await wait_state(store, device, wanted, INIT_TIMEOUT, what, party(device))
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as several:
        failure = several.exceptions[0]
        if not isinstance(failure, TimeoutError):
            raise failure from None
        why = await _why(toolstack, store, device)
        raise NotServed(f"waited {INIT_TIMEOUT:g} s for {what}: {why}") from None
    if in_vain is not None:
        raise in_vain


async def wait_state(
    store: Store,
    device: Device,
    wanted: tuple[str | None, ...],
    timeout: float,
    what: str,
    party: Party,
) -> None:
    """Wait until the backend is in one of the *wanted* states; None: its directory has gone.

    Args:
        timeout: seconds.
        what: what is waited for, of *party*.

    Raises: TimeoutError.
    """
    path = f"{device.backend}/state"
    log = libxl_log.WatchLog(path)
    number = next(state for state in wanted if state is not None)
    last: list[str] = []

    def reached(state: str | None) -> bool:
        last.append(state or "0")
        return state in wanted

    await log.register()
    await store.wait_for(path, reached, timeout, what, party)
    for state in last:
        await log.event()
        here = state in wanted or (state == "0" and None in wanted)
        found = "ok" if here else f"still waiting state {state}"
        place = 1051 if here else 1054
        await libxl_log.debug(
            f"libxl_event.c:{place}:devstate_callback",
            f"backend {path} wanted state {number} {found}",
        )
    await log.deregister()
    await libxl_log.debug(
        "libxl_device.c:1168:device_backend_callback",
        "calling device_backend_cleanup",
        device.domid,
    )


def closing_trouble(toolstack: Toolstack, device: Device) -> list[str]:
    """Who keeps a device from closing, as a line behind libxl's; none when both of them run."""
    census = toolstack.census()
    found = census.domain(device.domid) or party(device).trouble(census)
    return [] if found is None else [libxl(found.text, "info")]


def _label(device: Device) -> str:
    return f"{device.kind} {device.devid} of domain {device.domid}"


def _where(toolstack: Toolstack, device: Device) -> str:
    guest = toolstack.guest(device.backend_domid)
    if device.backend_domid == 0:
        return DOM0
    name = guest.name if guest is not None else "the backend"
    return f"{name} (domain {device.backend_domid})"


async def _in_vain(
    toolstack: Toolstack, store: Store, device: Device, where: str
) -> NotServed | None:
    """Why the backend will never come; None while it may.  Raises StoreSilent."""
    trouble = party(device).trouble(toolstack.census())
    if trouble is not None and trouble.what == "gone":
        return NotServed(f"{where} is gone")  # and its name with it
    if trouble is not None and trouble.what in _HOPELESS:
        return NotServed(trouble.text)
    home = domain_path(device.backend_domid)
    relative = device.backend.removeprefix(f"{home}/")
    state, error = await store.read_many(
        [f"{device.backend}/state", f"{home}/error/{relative}/error"]
    )
    if error and state in ("5", "6"):
        return NotServed(f"{where} refused {_label(device)}: {error[:300]}")
    served = await strange(store, device)
    if served is not None:
        return NotServed(
            f"{where} serves {' and '.join(served) or 'nothing'}, and no "
            f"{device.served_as}: {_label(device)} needs another backend",
            stranger=True,
        )
    return None


async def strange(store: Store, device: Device) -> list[str] | None:
    """The classes that the backend's domain serves, when it has said so and that of *device* is
    none of them; None when it serves it, or has not said."""
    home = domain_path(device.backend_domid)
    health, serves = await store.read_many([f"{home}/data/health", f"{home}/{SERVES_KEY}"])
    if health != "ok" or serves is None or len(serves) > 100:
        return None
    kinds = serves.split()
    return None if (device.served_as) in kinds else kinds


async def _why(toolstack: Toolstack, store: Store, device: Device) -> str:
    """Why the time passed: who stands still, or in which states the halves are."""
    trouble: Trouble | None = party(device).trouble(toolstack.census())
    if trouble is not None:
        return trouble.text
    back, front = await store.read_many([f"{device.backend}/state", f"{device.frontend}/state"])
    return (
        f"{_where(toolstack, device)} runs; its half is {_state(back)}, the other {_state(front)}"
    )


def _state(text: str | None) -> str:
    if text is None:
        return "absent"
    try:
        return XenbusState(int(text)).name
    except ValueError:
        return f"in state {text[:20]!r}"
