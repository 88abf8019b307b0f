"""Who is here and who waits for whom: the data of ``hvsim ps``.

A device waits when its ring holds requests that the backend does not answer: the toolstack reads
the indices from the ring page (which the guest granted), twice when there is something
unanswered, since a busy device always has some.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from hvsim.abi.ring import REQ_PROD, RSP_PROD
from hvsim.domain.hypercall import HypercallError
from hvsim.toolstack.devices import types
from hvsim.toolstack.devices.attached import refresh
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.device import Attached, Device
from hvsim.toolstack.host.glance import Glance, Teller, glance
from hvsim.toolstack.host.guest import Departed, Guest
from hvsim.toolstack.host.hypervisor import DomainInfo
from hvsim.toolstack.host.nodes import domain_path
from hvsim.toolstack.host.rows import About, domain_row, state_number
from hvsim.wire.picture import DeviceRow

SECOND_LOOK: Final = 0.03
"""Seconds between the two readings of a ring."""
CONNECTED: Final = "4"
_MASK32: Final = 0xFFFF_FFFF


@dataclass(slots=True)
class Waits:
    """Since when each device has been waiting, as far as it was looked at.

    Attributes:
        since: (domid, kind, devid) -> (the responses at that time, monotonic seconds).
    """

    since: dict[tuple[int, str, int], tuple[int, float]] = field(default_factory=dict)

    def update(self, key: tuple[int, str, int], responses: int, waiting: bool, now: float) -> float:
        """Seconds that the device has been seen waiting for the same response."""
        if not waiting:
            self.since.pop(key, None)
            return 0.0
        known = self.since.get(key)
        if known is None or known[0] != responses:
            self.since[key] = (responses, now)
            return 0.0
        return now - known[1]

    def keep_only(self, keys: Iterable[tuple[int, str, int]]) -> None:
        """Forget devices that are gone."""
        alive = set(keys)
        for key in [key for key in self.since if key not in alive]:
            del self.since[key]


@dataclass(slots=True)
class _Look:
    guest: Guest
    attached: Attached
    frontend_state: str | None
    backend_state: str | None
    ref: int | None
    error: str | None = None
    link: list[str | None] = field(default_factory=list)
    first: tuple[int, int] | None = None
    second: tuple[int, int] | None = None

    @property
    def unanswered(self) -> int | None:
        now = self.second or self.first
        return None if now is None else (now[0] - now[1]) & _MASK32

    @property
    def waiting(self) -> bool:
        """Whether requests lie in the ring and none was answered between the two looks."""
        if self.first is not None and self.second is not None:
            return self.second[0] != self.second[1] and self.first[1] == self.second[1]
        return self.frontend_state not in (CONNECTED, "5", "6", None)


async def survey(toolstack: Toolstack, waits: Waits, teller: Teller) -> dict[str, Any]:
    """All domains with their devices, and all processes; `unknown` says why states are missing."""
    census = toolstack.census()
    told = {
        "gave_up": gave_up(toolstack),
        "pids": dict(census.pids),
        "troubles": [one.row() for one in census.everybody()],
    }
    if toolstack.lost:
        return {**_without_store(toolstack), **told, "lost": toolstack.lost}
    async with glance(toolstack, teller, census) as store:
        await refresh(toolstack, store)
        looks = await _look(toolstack, store)
        # After that, or a domain that was just made for a device would be taken for one that went.
        listed = toolstack.hypervisor.domain_rows()
        processes = toolstack.hypervisor.processes()
        infos = [DomainInfo.of(row) for row in listed]
        homes = [domain_path(info.domid) for info in infos]
        paths = [f"{home}/{key}" for key in ("name", "data/health") for home in homes]
        values = await store.read_many(paths)
        names, healths = values[: len(homes)], values[len(homes) :]
    by_domid = dict(zip((info.domid for info in infos), names, strict=True))
    now = anyio.current_time()
    waits.keep_only(_key(look) for look in looks)
    devices: dict[int, list[DeviceRow]] = {}
    for look in looks:
        row = _device(look, by_domid, waits, now)
        devices.setdefault(look.guest.domid, []).append(row)
    domains = [
        domain_row(
            row, name, health, processes, devices.get(domid, []), _about(toolstack.guest(domid))
        )
        for row, domid, name, health in zip(listed, by_domid, names, healths, strict=True)
    ]
    return {
        "domains": domains,
        "processes": processes,
        **told,
        "departed": _departed(toolstack, {domid for domid, name in by_domid.items() if name}),
        "unknown": store.why,
    }


def _departed(toolstack: Toolstack, here: set[int]) -> list[dict[str, Any]]:
    """What is known of domains that are *here* with a name no more; also of those that are just
    being removed, whose names leave the store first."""
    removing = [
        Departed(guest.domid, guest.name, f"{guest.name} (domain {guest.domid}) is gone")
        for guest in toolstack.guests.values()
        if guest.domid not in here
    ]
    return [gone._asdict() for gone in (*removing, *toolstack.departed.values())]


def gave_up(toolstack: Toolstack) -> list[str]:
    """What is not started again any more, a sentence each."""
    return [*toolstack.gave_up.values(), *(guest.gave_up for guest in toolstack.dead.values())]


def _without_store(toolstack: Toolstack) -> dict[str, Any]:
    """What can be told when the store is lost: no states of devices, and names from memory."""
    listed, processes = toolstack.hypervisor.domain_rows(), toolstack.hypervisor.processes()
    names = {0: "Domain-0", **{guest.domid: guest.name for guest in toolstack.guests.values()}}
    domains = [
        domain_row(
            row,
            names.get(row["domid"]),
            None,
            processes,
            [],
            _about(toolstack.guest(row["domid"])),
        )
        for row in listed
    ]
    return {"domains": domains, "processes": processes}


async def _look(toolstack: Toolstack, store: Glance) -> list[_Look]:
    """Both halves of every device, and its ring (of an interface, the one it sends into)."""
    devices = [(guest, one) for guest in toolstack.guests.values() for one in guest.devices]
    paths = []
    for _, one in devices:
        paths += [f"{one.device.frontend}/{key}" for key in ("state", *_rings(toolstack, one))]
        paths += [f"{one.device.backend}/state", *_complaints(one.device), *_link(one.device)]
    values = iter(await store.read_many(paths))
    looks = []
    for guest, one in devices:
        state, refs = next(values), [next(values) for _ in _rings(toolstack, one)]
        ref = next((int(text) for text in refs if text is not None and _is_number(text)), None)
        look = _Look(guest, one, state, next(values), ref)
        said = [next(values) for _ in _complaints(one.device)]
        look.error = next((text for text in said if text), None)
        look.link = [next(values) for _ in _link(one.device)]
        looks.append(look)
    for look in looks:
        look.first = _indices(toolstack, look)
    again = [look for look in looks if look.unanswered]
    if again:
        await anyio.sleep(SECOND_LOOK)
    for look in looks:
        look.second = _indices(toolstack, look) if look.unanswered else look.first
    return looks


def _complaints(device: Device) -> list[str]:
    """Where either half, or the hotplug script, says what is wrong with a device."""
    found = [f"{device.backend}/hotplug-error"]
    for domid, path in (
        (device.backend_domid, device.backend),
        (device.domid, device.frontend),
    ):
        home = domain_path(domid)
        found.append(f"{home}/error/{path.removeprefix(f'{home}/')}/error")
    return found


def _link(device: Device) -> list[str]:
    """What is told of an interface: its address, and whether a rule keeps its link down."""
    return [f"{device.backend}/{key}" for key in ("mac", "link")] if device.kind == "vif" else []


def _rings(toolstack: Toolstack, one: Attached) -> tuple[str, ...]:
    """Where the frontend of a device may name its ring."""
    kind = types.of(toolstack, one.device.kind)
    return () if kind is None else kind.ring_keys


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < 10


def _indices(toolstack: Toolstack, look: _Look) -> tuple[int, int] | None:
    """(requests, responses) of a ring; None when there is none that can be read."""
    if look.ref is None or look.frontend_state != CONNECTED:
        return None
    try:
        page = toolstack.hypervisor.peek(look.guest.domid, look.ref, 0, 16)
    except HypercallError:
        return None
    return struct.unpack_from("<I", page, REQ_PROD)[0], struct.unpack_from("<I", page, RSP_PROD)[0]


def _key(look: _Look) -> tuple[int, str, int]:
    device = look.attached.device
    return device.domid, device.kind, device.devid


def _device(look: _Look, names: dict[int, str | None], waits: Waits, now: float) -> DeviceRow:
    device = look.attached.device
    key = _key(look)
    responses = look.second[1] if look.second is not None else -1
    seconds = waits.update(key, responses, look.waiting, now)
    backend = names.get(device.backend_domid)
    indices = look.second or look.first or (None, None)
    row: DeviceRow = {
        "class": device.kind,
        "devid": device.devid,
        "vdev": look.attached.name,
        "frontend_domid": device.domid,
        "frontend_state": state_number(look.frontend_state),
        "backend_class": device.served_as,
        "backend_domid": device.backend_domid,
        "backend": backend,
        "error": look.error,
        "backend_state": state_number(look.backend_state),
        "requests": indices[0],
        "responses": indices[1],
        "waits_for": (backend or f"domain {device.backend_domid}") if look.waiting else None,
        "unanswered": look.unanswered,
        "waiting_seconds": round(seconds, 3) if look.waiting else None,
    }
    if look.link:
        row["mac"], row["link"] = look.link
    return row


def _about(guest: Guest | None) -> About:
    if guest is None:
        return About()
    program = guest.request.program or guest.config.program
    deaths = guest.lives.recent(anyio.current_time())
    return About(guest.driver, guest.request.restart, guest.restarts, deaths, program)
