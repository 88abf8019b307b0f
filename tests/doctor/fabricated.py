"""Facts of a host that is made up: storage (domain 1) serves the disks of web and db."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from hvsim.observe.diagnosis.facts import Facts, StandingRule
from hvsim.observe.rows import SeenDomain
from hvsim.wire.picture import DeviceRow
from tests.support.rows import device_row, domain_row

NOW = 1000.0


def device(front: int, back: int = 1, states: tuple[int | None, int | None] = (4, 4)) -> DeviceRow:
    return device_row("vbd", 51712, "xvda", front, back) | {
        "frontend_state": states[0],
        "backend_state": states[1],
    }


def domain(domid: int, name: str, *devices: DeviceRow, **more: Any) -> SeenDomain:
    row: dict[str, Any] = {
        **domain_row(domid, name, *devices),
        "pid": 100 + domid,
        "pids": {"main": 100 + domid},
        **more,
    }
    return row  # type: ignore[return-value]


def rule(number: int, text: str, domid: int, fired: int = 1, **settings: Any) -> StandingRule:
    return {
        "number": number,
        "text": text,
        "domain": str(UUID(int=domid)),
        "process": "",
        "peer": None,
        "seam": "",
        "settings": settings,
        "times": 0,
        "fired": fired,
        "last": "",
        "trouble": "",
        "since": NOW - 5,
    }


def facts(
    *domains: SeenDomain, troubles: tuple[tuple[str, str, str], ...] = (), **more: Any
) -> Facts:
    return Facts(
        picture={
            "lab": "made-up",
            "processes": [],
            "domains": list(domains),
            "waits": [],
            "troubles": [dict(zip(("who", "what", "text"), one, strict=True)) for one in troubles],  # type: ignore[misc]
            "lost": "",
            "source": "toolstack",
            "unknown": "",
        },
        now=NOW,
        **more,
    )
