"""Which interfaces a rule about the network means, and where it acts: with whoever serves them.

    web/eth0             that one
    network              all that it serves
    web                  its own, of a domain that serves none
    network <-> web      those of the one that the other serves
    web <-> db           the frames that go from one to the other, told by their addresses

Read from the picture of a host.  Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from hvsim.faults.grammar import Draft, RuleError
from hvsim.faults.targets import DeviceTarget, DomainTarget, PairTarget, Place, Target
from hvsim.names import mac
from hvsim.toolstack.host.parts import DOM0, server_process
from hvsim.wire.fault import When

if TYPE_CHECKING:
    from hvsim.wire.picture import DeviceRow, DomainRow

VIF: Final = "vif"
_DOM0_HANDLE: Final = bytes(16)
_KERNELS: Final = ("", server_process(VIF, 0))
"""Processes that have interfaces, or serve them."""

Meant = tuple[Place, Place | None, dict[str, Any]]
"""Where the rule acts, who is at the other end, and settings that say which interfaces."""


def meant(draft: Draft, target: Target, domains: Sequence[DomainRow]) -> Meant:
    """Raises: RuleError."""
    _check(draft, target)
    if isinstance(target, DeviceTarget):
        return target.back, target.front, {"devid": target.devid}
    if isinstance(target, DomainTarget):
        if _serves(target.place, None, domains):
            return _server(target.place), None, {}
        return _its_server(draft, target.place, domains), target.place, {}
    assert isinstance(target, PairTarget), "the catalogue says so"
    first, second = target.first, target.second
    for server, guest, way in ((first, second, "in"), (second, first, "out")):
        if _serves(server, guest, domains):
            return _server(server), guest, {"direction": way} if target.one_way else {}
    return _between(draft, target, domains)


def _check(draft: Draft, target: Target) -> None:
    """What does not go together."""
    pair = isinstance(target, PairTarget)
    settings = draft.settings
    if "partition" in settings and not pair:
        raise RuleError(f'{draft.target}: a partition is between two domains ("a <-> b")')
    if "direction" in settings and pair:
        raise RuleError(f"{draft.target}: direction= is of an interface; between domains it is ->")
    if "link" in settings:
        if "direction" in settings or (isinstance(target, PairTarget) and target.one_way):
            raise RuleError("link=down: a link is down both ways")
        if draft.when != When():
            raise RuleError("link=down: down is down; for=TIME says for how long")


def _between(draft: Draft, target: PairTarget, domains: Sequence[DomainRow]) -> Meant:
    """Between two domains of which neither serves the other."""
    if "link" in draft.settings:
        raise RuleError(f"{draft.target}: no link is between those alone: partition=yes, or a link")
    ends = (target.first, target.second)
    servers = [_its_server(draft, end, domains) for end in ends]
    if servers[0] != servers[1]:
        raise RuleError(
            f"{draft.target}: {servers[0].name} serves the one, {servers[1].name} the other; "
            "no frame goes from one to the other without a router"
        )
    macs = [_addresses(draft, end, domains) for end in ends]
    ways = [macs] if target.one_way else [macs, macs[::-1]]
    return servers[0], None, {"between": ways}


def _addresses(draft: Draft, place: Place, domains: Sequence[DomainRow]) -> list[str]:
    found = [mac.parse(device.get("mac") or "") for device in _vifs(place, domains)]
    macs = [address for address in found if address]
    if len(macs) != len(found):
        raise RuleError(f"{draft.target}: an interface of {place.name} has no address")
    return macs


def _its_server(draft: Draft, place: Place, domains: Sequence[DomainRow]) -> Place:
    """Who serves the interfaces of a domain."""
    vifs = _vifs(place, domains)
    if not vifs:
        raise RuleError(f"{draft.target}: {place.name} neither has an interface nor serves one")
    rows = {row["domid"]: row for row in domains}
    servers = {device["backend_domid"] for device in vifs}
    if len(servers) > 1 or not servers <= set(rows):
        names = ", ".join(f"{place.name}/{device['vdev']}" for device in vifs)
        raise RuleError(f"{draft.target}: several serve its interfaces, or none; name one: {names}")
    [domid] = servers
    row = rows[domid]
    return _server(Place(str(row["name"] or domid), _handle(row)))


def _serves(server: Place, guest: Place | None, domains: Sequence[DomainRow]) -> bool:
    """Whether one serves interfaces of another, or of anybody."""
    return server.process in _KERNELS and any(
        device["class"] == VIF and _is(server, device["backend_domid"], domains)
        for row in domains
        if guest is None or _handle(row) == guest.handle
        for device in row["devices"]
    )


def _vifs(place: Place, domains: Sequence[DomainRow]) -> list[DeviceRow]:
    return [
        device
        for row in domains
        if _handle(row) == place.handle and place.process in _KERNELS
        for device in row["devices"]
        if device["class"] == VIF
    ]


def _is(place: Place, domid: int, domains: Sequence[DomainRow]) -> bool:
    return any(row["domid"] == domid and _handle(row) == place.handle for row in domains)


def _server(place: Place) -> Place:
    """The process that serves interfaces."""
    if place.handle != _DOM0_HANDLE:
        return place
    return Place(DOM0, place.handle, server_process(VIF, 0))


def _handle(row: DomainRow) -> bytes:
    from uuid import UUID

    return UUID(row["uuid"]).bytes
