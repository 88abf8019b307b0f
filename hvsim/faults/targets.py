"""Who is meant by the target of a rule: a device, a domain, two of them, the store.

    web-frontend/eth0        a device, by its domain and its name
    network <-> web-frontend whatever two domains have between them; ->: what the first sends
    storage                  a domain, or a process of dom0
    xenstored                the store

Read from the picture of a host (`observe`); what is found are handles, so that a rule outlives the
domain that it is about.  Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from hvsim.errors import HvsimError
from hvsim.names.domain import is_dom0
from hvsim.toolstack.host.parts import DAEMONS, DOM0, server_process

if TYPE_CHECKING:
    from hvsim.wire.picture import DeviceRow, DomainRow

STORE: Final = "xenstored"
_PAIR: Final = re.compile(r"(.*?)\s*(<->|->|<-)\s*(.*)")


class TargetError(HvsimError):
    """Nobody is called so; the text says who there is.

    Attributes:
        name: the domain's, when it is one that is not there.
    """

    def __init__(self, text: str, name: str = "") -> None:
        super().__init__(text)
        self.name: Final = name


@dataclass(frozen=True)
class Place:
    """Where something acts: a domain, by its handle, and a process of it ("" its main one)."""

    name: str
    handle: bytes
    process: str = ""


@dataclass(frozen=True)
class DeviceTarget:
    """A device, with both its halves."""

    type: str
    devid: int
    front: Place
    back: Place
    frontend_domid: int
    backend_domid: int


@dataclass(frozen=True)
class PairTarget:
    """Two domains; *one_way*: what the first sends only."""

    first: Place
    second: Place
    one_way: bool


@dataclass(frozen=True)
class DomainTarget:
    """A domain or a process of dom0."""

    place: Place


@dataclass(frozen=True)
class StoreTarget:
    """The store."""

    place: Place


Target = DeviceTarget | PairTarget | DomainTarget | StoreTarget
KINDS: Final = {
    DeviceTarget: "device",
    PairTarget: "pair",
    DomainTarget: "domain",
    StoreTarget: "store",
}
SHOWN: Final = {
    "device": "a device (web/xvda)",
    "pair": 'two domains ("storage <-> web", "storage -> web")',
    "domain": "a domain (storage)",
    "store": STORE,
}


def find(text: str, domains: Sequence[DomainRow]) -> Target:
    """Whom *text* means among *domains*.  Raises: TargetError."""
    pair = _PAIR.fullmatch(text.strip())
    if pair is not None:
        first, arrow, second = pair.groups()
        if not first or not second:
            raise TargetError(f"{text}: two domains are wanted, one at each end of {arrow}")
        if arrow == "<-":
            first, second = second, first
        ends = _domain(first, domains), _domain(second, domains)
        if ends[0].handle == ends[1].handle:
            raise TargetError(f"{text}: two domains are wanted, and that is one")
        return PairTarget(*ends, one_way=arrow != "<->")
    name, slash, device = text.partition("/")
    if not name:  # which means dom0 elsewhere: a variable of a script that was not set
        raise TargetError(f"{text!r} names nobody: {', '.join(SHOWN.values())} is wanted")
    if slash:
        return _device(name, device, domains)
    if text == STORE:
        return StoreTarget(Place(STORE, bytes(16), STORE))
    return DomainTarget(_domain(text, domains))


def row_of(name: str, domains: Sequence[DomainRow]) -> DomainRow:
    """The domain of that name or number.  Raises: TargetError."""
    for row in domains:
        if name in (row["name"], str(row["domid"])) or (row["domid"] == 0 and is_dom0(name)):
            return row
    names = ", ".join(str(row["name"]) for row in domains if row["name"])
    raise TargetError(f"{name}: there is no such domain; there are {names}", name)


def _place(row: DomainRow) -> Place:
    return Place(str(row["name"] or row["domid"]), UUID(row["uuid"]).bytes)


def _domain(name: str, domains: Sequence[DomainRow]) -> Place:
    if name in DAEMONS:
        return Place(name, bytes(16), name)
    return _place(row_of(name, domains))


def _device(name: str, wanted: str, domains: Sequence[DomainRow]) -> DeviceTarget:
    row = row_of(name, domains)
    found = [device for device in row["devices"] if wanted in names_of(device)]
    if len(found) != 1:
        names = ", ".join(device["vdev"] for device in row["devices"]) or "none"
        many = "there is no such device" if not found else "several are called so"
        raise TargetError(f"{name}/{wanted}: {many}; its devices are {names}")
    [device] = found
    server = next((one for one in domains if one["domid"] == device["backend_domid"]), None)
    if server is None:
        raise TargetError(f"{name}/{wanted}: the domain that served it is gone")
    back = _place(server)
    if server["domid"] == 0:
        process = server_process(device["backend_class"], device["frontend_domid"])
        back = Place(DOM0, back.handle, process)
    return DeviceTarget(
        device["class"],
        device["devid"],
        _place(row),
        back,
        device["frontend_domid"],
        device["backend_domid"],
    )


def names_of(device: DeviceRow) -> tuple[str, ...]:
    """What a device may be called, without its domain."""
    kind, number = device["class"], str(device["devid"])
    return device["vdev"], number, f"{kind}{number}", f"{kind}/{number}"
