"""Every device of a diagnosis with both its halves, for the table and for programs.  Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hvsim.observe.diagnosis import facts
from hvsim.observe.diagnosis.host import BACK, BOTH, FRONT

if TYPE_CHECKING:
    from hvsim.observe.diagnosis.examine import Diagnosis
    from hvsim.observe.diagnosis.host import Host
    from hvsim.observe.diagnosis.rows import PairRow
    from hvsim.wire.picture import DeviceRow


def rows(found: Diagnosis) -> list[PairRow]:
    """All."""
    return [_row(found, device) for device in found.host.devices()]


def of(found: Diagnosis, domain: str, label: str) -> list[PairRow]:
    """Those that a domain uses or serves, or the one of that label; all, when neither is named."""
    return [
        row
        for row in rows(found)
        if (not domain and not label)
        or label == row["device"]
        or (not label and domain in (row["device"].partition("/")[0], row["backend"]))
    ]


def _row(found: Diagnosis, device: DeviceRow) -> PairRow:
    host = found.host
    ring, label = host.ring(device), host.label(device)
    symptom = found.symptoms.get(label)
    whose = {FRONT: host.front(device), BACK: host.server(device)}
    whose[BOTH] = f"{whose[BACK]} and {whose[FRONT]}, each after the other"
    return {
        "device": label,
        "backend": host.server(device),
        "frontend_state": device["frontend_state"],
        "backend_state": device["backend_state"],
        "unanswered": device["unanswered"] if ring is None else facts.unanswered(ring),
        "untaken_requests": None if ring is None else facts.untaken_requests(ring),
        "untaken_answers": None if ring is None else facts.untaken_answers(ring),
        "slots": None if ring is None else ring["slots"],
        "bells": list(_bells(host, device)),
        "grants": sum(1 for _ in _grants(host, device)),
        "whose_turn": "nobody" if symptom is None else whose.get(symptom.turn, "nobody"),
    }


def _bells(host: Host, device: DeviceRow) -> Iterator[str]:
    ends = device["frontend_domid"], device["backend_domid"]
    for domid, other in (ends, ends[::-1]):
        row = host.domains.get(domid)
        for port in row["holdings"]["ports"] if row is not None and "holdings" in row else ():
            flags = [flag for flag in ("pending", "masked") if port[flag]]
            if port["remote"] == other and flags:
                yield f"port {port['port']} of {host.name(domid)}: {', '.join(flags)}"


def _grants(host: Host, device: DeviceRow) -> Iterator[int]:
    row = host.domains.get(device["frontend_domid"])
    for grant in row["holdings"]["grants"] if row is not None and "holdings" in row else ():
        if grant["peer"] == device["backend_domid"]:
            yield grant["ref"]
