"""The facts of a host by name: its domains, its devices, and whose turn it is with each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from hvsim.abi.xenbus import XenbusState
from hvsim.toolstack.host.parts import DOM0, server_process

if TYPE_CHECKING:
    from hvsim.observe.diagnosis.facts import Facts, Record, Ring, StandingRule, Step
    from hvsim.observe.rows import SeenDomain
    from hvsim.wire.picture import DeviceRow

DRIVERS: Final = {"vbd": "blkback", "vif": "netback", "qdisk": "QEMU"}
"""Who serves a class of backends, as people call it."""
_S: Final = XenbusState
_CLOSING: Final = (_S.Closing, _S.Closed)
FRONT, BACK, BOTH, NOBODY = "frontend", "backend", "both", "nobody"
NANO: Final = 1e9
_NOT_A_NAME: Final = re.compile(r'[\s"=@]+')
"""What stands between the words of a rule, and around the devices that they name."""


class Host:
    """The facts, with what is asked of them again and again."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.domains: dict[int, SeenDomain] = {
            row["domid"]: row for row in facts.picture["domains"]
        }
        self._rings = {(one["domid"], one["kind"], one["devid"]): one for one in facts.rings}

    def name(self, domid: int) -> str:
        """How a domain is called, as commands take it."""
        row = self.domains.get(domid)
        if domid == 0:
            return DOM0
        return str(row["name"]) if row is not None and row["name"] else f"domain {domid}"

    def full_name(self, domid: int) -> str:
        """The same with its number."""
        name = self.name(domid)
        return name if name.startswith("domain ") else f"{name} (domain {domid})"

    def domid(self, name: str) -> int | None:
        """The number of a domain of that name, or of that number as text."""
        for domid, row in self.domains.items():
            if name in (row["name"], str(domid)):
                return domid
        return None

    def devices(self) -> Iterator[DeviceRow]:
        """Every device."""
        for row in self.facts.picture["domains"]:
            yield from row["devices"]

    def label(self, device: DeviceRow) -> str:
        """What people call it: web/xvda."""
        return f"{self.name(device['frontend_domid'])}/{device['vdev']}"

    def front(self, device: DeviceRow) -> str:
        """Whose it is."""
        return self.name(device["frontend_domid"])

    def server(self, device: DeviceRow) -> str:
        """Who serves it: a domain, or one of dom0's processes."""
        if device["backend_domid"] == 0:
            return server_process(device["backend_class"], device["frontend_domid"])
        found = self.name(device["backend_domid"])
        if not found.startswith("domain "):
            return found
        mine = (self.front(device), device["vdev"])  # it is gone: who knew it has said its name
        waits = self.facts.picture["waits"]
        on = next((one["on"] for one in waits if (one["domain"], one["device"]) == mine), found)
        return device["backend"] or on

    def backend(self, device: DeviceRow) -> str:
        """The same in full: blkback in storage (domain 1)."""
        driver = DRIVERS.get(device["backend_class"], f"the backend of {device['class']}")
        if device["backend_domid"] == 0:
            return f"{driver} in {DOM0} ({self.server(device)})"
        name = self.server(device)
        return f"{driver} in {name} (domain {device['backend_domid']})"

    def ring(self, device: DeviceRow) -> Ring | None:
        """Its ring, if it could be read."""
        return self._rings.get((device["frontend_domid"], device["class"], device["devid"]))

    def steps(self, device: DeviceRow) -> dict[str, Step]:
        """The last that each of its halves did in the store."""
        key = f"{device['frontend_domid']}/{device['class']}/{device['devid']}"
        return self.facts.steps.get(key, {})

    def records(self, *kinds: str) -> Iterator[Record]:
        """Of the ledger, those of some kinds, the newest first."""
        return (one for one in reversed(self.facts.ledger) if one["kind"] in kinds)

    def ago(self, record: Record) -> float:
        """Seconds since a record."""
        return max(0.0, self.facts.now - float(record["mono"]) / NANO)

    def meant(self, rule: StandingRule) -> str:
        """Whom a rule is about, as commands take it: a process of dom0, or a domain."""
        if rule["process"]:
            return rule["process"]
        for domid, row in self.domains.items():
            if row["uuid"] == rule["domain"]:
                return self.name(domid)
        return rule["text"].partition(" ")[0]  # it is not there in this moment

    def about(self, rule: StandingRule, device: DeviceRow) -> bool:
        """Whether a rule can hold up a device: it names it, or what lies between its halves."""
        if rule["trouble"]:
            return False
        if self.label(device) in _NOT_A_NAME.split(rule["text"]):
            return True
        settings = rule["settings"]
        wanted = (settings.get("type", device["class"]), settings.get("devid", device["devid"]))
        if wanted != (device["class"], device["devid"]):
            return False
        ends = [self.domains.get(device[half]) for half in ("backend_domid", "frontend_domid")]
        uuids = [row["uuid"] if row is not None else "" for row in ends]
        if rule["domain"] not in uuids or (rule["peer"] or rule["domain"]) not in uuids:
            return False
        return not rule["process"] or rule["process"] == self.server(device)


def turn(front: int | None, back: int | None) -> str:
    """Which half has to move next, by the handshake of xen/io/xenbus.h and blkif.h."""
    if front is None:
        return FRONT
    if back is None:
        return BACK
    if front == back == _S.Connected or (front in _CLOSING and back == _S.Closed):
        return NOBODY
    if back in _CLOSING:
        return FRONT if front not in _CLOSING else BACK
    if front in _CLOSING:
        return BACK
    if front in (_S.InitWait, _S.Initialised) and back in (_S.InitWait, _S.Initialised):
        return BACK if (front, back) == (_S.Initialised, _S.InitWait) else BOTH
    if back in (_S.Unknown, _S.Initialising):
        return BACK
    if back == _S.InitWait:
        return BACK if front == _S.Connected else FRONT
    return FRONT if back == _S.Connected else BACK
