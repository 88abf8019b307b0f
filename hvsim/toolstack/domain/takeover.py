"""A new toolstack takes over from one that has died: it finds what there is, and ends what was
half done.

The hypervisor knows the domains, the store their devices, the notes (``userdata``) the rest.

    built       it is known again, with its disks, interfaces, restart policy and deaths; what is
                attached or detached at this moment is taken away, for nobody waits for it any more
    building    it is undone, as by libxl when xl is killed in a create and the rest is destroyed;
                whoever asked for it was told that the toolstack has died
    ending      the destroy goes on
    again       what was to be made anew is made anew; a driver domain that stands already gets the
                frontends that still look at the dead one

QEMUs of guests have lived on as processes of dom0; one that has died meanwhile is started again.
Captures ended with the process that read them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from hvsim.domain.hypercall import HypercallError
from hvsim.drivers.capture.tap import ANSWER_KEY, REQUEST_KEY
from hvsim.toolstack.config import ConfigError
from hvsim.toolstack.devices import attached, device_model, types
from hvsim.toolstack.devices.detach import Force, detach
from hvsim.toolstack.devices.hand_over import hand_over, served_by
from hvsim.toolstack.devices.vif.type import INTERFACES
from hvsim.toolstack.domain import lifecycle, recovery
from hvsim.toolstack.domain.create import config_of
from hvsim.toolstack.domain.destroy import finish
from hvsim.toolstack.host import starting
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.guest import Guest
from hvsim.toolstack.host.store import Store
from hvsim.toolstack.host.userdata import Record
from hvsim.xs import requests
from hvsim.xs.requests import StoreError


async def take_over(toolstack: Toolstack, store: Store) -> None:
    """Find what a former toolstack has left; work that it was in goes on beside.

    Raises: StoreError, HypercallError, OSError.
    """
    records = list(toolstack.notes.records())
    if not records:
        return
    infos = {info.domid: info for info in toolstack.hypervisor.domains()}
    guests: list[tuple[Record, Guest]] = []
    for record in records:
        info = infos.get(record.domid)
        if info is not None and info.uuid != record.uuid:
            toolstack.notes.drop(record.domid, record.uuid)  # of one that had this number before
            continue
        guest = await _known_again(toolstack, store, record)
        if guest is not None:
            guests.append((record, guest))
    await _end_captures(store, toolstack.guests.values())
    _go_on(toolstack, guests)
    toolstack.dom.log(f"a former toolstack has died; known again: {_names(toolstack)}")


def _names(toolstack: Toolstack) -> str:
    return ", ".join(guest.name for guest in toolstack.guests.values()) or "no domain"


async def _known_again(toolstack: Toolstack, store: Store, record: Record) -> Guest | None:
    try:
        config = config_of(record.request)
    except (ConfigError, ToolstackError) as failure:
        toolstack.dom.log(f"{record.name}: its config is not understood any more: {failure}")
        return None
    guest = Guest(record.domid, record.name, record.uuid, record.request, config)
    guest.lives.restore(record.lives)
    guest.handled, guest.gave_up, guest.stage = record.handled, record.gave_up, record.stage
    guest.replaces, guest.changing = record.replaces, set(record.changing)
    guest.complete = True
    await attached.refresh(toolstack, store, guest)
    if guest.stage == "again" and toolstack.hypervisor.info(guest.domid) is None:
        guest.handled = True  # it is only remembered
    else:
        toolstack.guests[guest.domid] = guest
        _claim_images(toolstack, guest)
    info = toolstack.hypervisor.info(guest.domid)
    if guest.stage == "built" and info is not None and not (info.paused or info.shutdown):
        toolstack.tasks.start_soon(starting.follow, toolstack, guest)  # it may not run yet
    else:
        guest.started.set()
    if guest.gave_up:
        toolstack.dead[guest.domid] = guest
    return guest


def _claim_images(toolstack: Toolstack, guest: Guest) -> None:
    """The locks of images went with the process that held them."""
    for one in guest.devices:
        if (image := one.half.image) is None:
            continue
        refusal = toolstack.images.claim(guest.domid, one.device.devid, guest.name, image)
        if refusal is not None:
            toolstack.dom.log(f"{guest.name}: {refusal.error(guest.domid)}")


async def _end_captures(store: Store, guests: Iterable[Guest]) -> None:
    """Tell the halves that nobody reads what they copy."""
    halves = [
        half
        for guest in guests
        for nic in guest.of(INTERFACES.kind).values()
        for half in (nic.device.frontend, nic.device.backend)
    ]
    await store.batch(
        [requests.rm(f"{half}/{key}") for half in halves for key in (REQUEST_KEY, ANSWER_KEY)]
    )


def _go_on(toolstack: Toolstack, found: list[tuple[Record, Guest]]) -> None:
    """Begin, beside everything else, what is left to be done."""
    by_domid = {record.domid: guest for record, guest in found}
    successors = {
        record.replaces: guest
        for record, guest in found
        if record.stage == "built" and record.replaces is not None
    }
    for record, guest in found:
        work = None
        if record.stage == "built":
            predecessor = by_domid.get(record.replaces) if record.replaces is not None else None
            work = partial(_settle, toolstack, guest, predecessor)
        elif record.stage in ("building", "ending"):
            guest.handled = True
            work = partial(finish, toolstack, guest.domid)
        elif record.gave_up or record.domid in successors:
            continue
        else:
            guest.handled = True
            work = partial(_make_again, toolstack, guest)
        what = f"taking {guest.name} over from a toolstack that has died"
        toolstack.begin(what, partial(_try, toolstack, guest, work))


async def _try(toolstack: Toolstack, guest: Guest, work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except (ToolstackError, ConfigError, StoreError, HypercallError, OSError) as failure:
        toolstack.dom.log(f"{guest.name}: taking it over: {failure}")


async def _settle(toolstack: Toolstack, guest: Guest, predecessor: Guest | None) -> None:
    """A domain that is there: end what was being done to it, and see to its QEMU."""
    async with toolstack.store() as store:
        for entry in sorted(guest.changing):
            await _take_away(toolstack, store, guest, entry)
    if predecessor is not None:
        served = list(served_by(toolstack, predecessor.domid))
        await hand_over(toolstack, served, guest)
        toolstack.notes.drop(predecessor.domid, predecessor.uuid)
    guest.replaces = None
    guest.changing.clear()
    toolstack.keep(guest)
    if device_model.needed(guest):
        device_model.adopt(toolstack, guest)


async def _take_away(toolstack: Toolstack, store: Store, guest: Guest, entry: str) -> None:
    """A device that was being attached or detached goes."""
    name, _, number = entry.partition("/")
    kind, attached = types.of(toolstack, name), guest.of(name).get(int(number))
    if kind is not None and attached is not None:
        failed = f"{entry}: it does not close"
        await detach(toolstack, store, kind, attached.device, Force.AUTO, failed)


async def _make_again(toolstack: Toolstack, guest: Guest) -> None:
    """What was to be made anew when the former toolstack died."""
    halves = [
        other.domid
        for other in toolstack.guests.values()
        if other.name == guest.name and other.stage in ("building", "ending", "again")
    ]
    for domid in halves:  # its own remains, and what was made of its successor
        await finish(toolstack, domid)
    if guest.request.restart == "always":
        await recovery.rebuild_until_done(toolstack, guest, 0.0)
    else:
        await lifecycle.reborn(toolstack, guest)
