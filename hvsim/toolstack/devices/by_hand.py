"""Devices of the lab's own kinds, attached to and detached from a domain (``hvsim device``).

What is changed is changed for the domain's next life as well, as with xl's verbs.
"""

from dataclasses import replace

from hvsim.names.number import unsigned
from hvsim.toolstack.devices import attach as attaching
from hvsim.toolstack.devices import detach as detaching
from hvsim.toolstack.devices import types
from hvsim.toolstack.devices.declared import Declared, plan
from hvsim.toolstack.devices.detach import Force
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.guest import Guest
from hvsim.toolstack.host.store import Store
from hvsim.wire.lab_requests import DeclaredDevice, Device


async def serve(toolstack: Toolstack, request: Device) -> dict[str, object]:
    """``attach`` or ``detach`` for ``domain`` and ``device``.

    Raises: ToolstackError, which says what is known instead.
    """
    async with toolstack.store() as store:
        domid = await toolstack.find(store, request.domain)
        guest = toolstack.guest(domid) if domid is not None else None
        if guest is None:
            raise ToolstackError(f"there is no domain {request.domain!r} of this lab")
        if request.action == "attach":
            return await _attach(toolstack, store, guest, request.device, request.served_by)
        return await _detach(toolstack, store, guest, request.device, request.force)


async def _attach(
    toolstack: Toolstack, store: Store, guest: Guest, text: str, served_by: str | None
) -> dict[str, object]:
    kind = _kind(toolstack, text)
    taken = {device.devid for device in await kind.all_of(store, guest.domid)}
    one = _like(toolstack, guest, kind, taken, served_by)
    _check_server(toolstack, one)
    made = await attaching.attach(
        toolstack, store, guest, kind, lambda: plan(toolstack, store, guest.domid, one)
    )
    _remember(toolstack, guest, one)
    return {"device": made.name, "devid": one.devid, "backend": made.device.backend}


def _like(
    toolstack: Toolstack, guest: Guest, kind: Declared, taken: set[int], served_by: str | None
) -> DeclaredDevice:
    """The one that was detached, else one more like those that the guest has."""
    same = [one for one in guest.request.devices if one.type == kind.kind]
    one = next((one for one in same if one.devid not in taken), None)
    if one is None:
        devid = max(taken, default=-1) + 1
        fresh = DeclaredDevice(kind.kind, devid, _only_server(toolstack, kind.kind))
        one = same[0]._replace(devid=devid) if same else fresh
    return one._replace(served_by=one.served_by if served_by is None else served_by, there=True)


def _servers(toolstack: Toolstack, kind: str) -> list[str]:
    return [guest.name for guest in toolstack.guests.values() if kind in guest.request.serves]


def _only_server(toolstack: Toolstack, kind: str) -> str:
    able = _servers(toolstack, kind)
    return able[0] if len(able) == 1 else ""


def _check_server(toolstack: Toolstack, one: DeclaredDevice) -> None:
    """Raises: ToolstackError: that domain has no driver for the device."""
    able = _servers(toolstack, one.type)
    if one.served_by not in able:
        who = ", ".join(able) or "nobody"
        if not one.served_by:
            raise ToolstackError(f"say who serves it: --from one of {who}")
        raise ToolstackError(f"{one.served_by} serves no {one.type}; of this lab {who} does")


async def _detach(
    toolstack: Toolstack, store: Store, guest: Guest, text: str, force: bool
) -> dict[str, object]:
    name = text.rstrip("0123456789")
    kind, devid = _kind(toolstack, name), unsigned(text[len(name) :])
    device = await kind.find(store, guest.domid, devid) if devid is not None else None
    if device is None:
        there = [f"{kind.kind}{one.devid}" for one in await kind.all_of(store, guest.domid)]
        raise ToolstackError(
            f"{guest.name} has no {text or kind.kind}; it has {', '.join(there) or 'none'}"
        )
    how = Force.ON if force else Force.AUTO
    failed = f"{guest.name}: {text} could not be detached"
    said = await detaching.detach(toolstack, store, kind, device, how, failed)
    for one in guest.request.devices:
        if (one.type, one.devid) == (kind.kind, device.devid):
            _remember(toolstack, guest, one._replace(there=False))
    return {"device": text, "said": said}


def _kind(toolstack: Toolstack, name: str) -> Declared:
    kind = types.of(toolstack, name)
    if isinstance(kind, Declared):
        return kind
    known = ", ".join(one.type for one in toolstack.defaults.devices) or "none"
    remedy = "xl attaches and detaches those of Xen" if kind is not None else f"it has: {known}"
    raise ToolstackError(f"this lab declares no kind of device {name!r}; {remedy}")


def _remember(toolstack: Toolstack, guest: Guest, one: DeclaredDevice) -> None:
    """For the guest's next life, and for a toolstack that comes after this one."""
    known = {(other.type, other.devid): other for other in guest.request.devices}
    known[one.type, one.devid] = one
    guest.request = replace(guest.request, devices=tuple(known.values()))
    toolstack.keep(guest)
