"""Facts of a host that is made up: storage (domain 1) serves the disks of web and db."""

from __future__ import annotations

from typing import Any

from hvsim.observe.diagnosis.facts import Facts, StandingRule
from hvsim.observe.rows import SeenDomain
from hvsim.wire.picture import DeviceRow

NOW = 1000.0


def device(front: int, back: int = 1, states: tuple[int | None, int | None] = (4, 4)) -> DeviceRow:
    return {
        "class": "vbd",
        "devid": 51712,
        "vdev": "xvda",
        "frontend_domid": front,
        "frontend_state": states[0],
        "backend_class": "vbd",
        "backend_domid": back,
        "backend": None,
        "backend_state": states[1],
        "error": None,
        "requests": None,
        "responses": None,
        "unanswered": None,
        "waits_for": None,
        "waiting_seconds": None,
    }


def domain(domid: int, name: str, *devices: DeviceRow, **more: Any) -> SeenDomain:
    row: dict[str, Any] = {
        "domid": domid,
        "name": name,
        "role": "guest",
        "state": "-b----",
        "stalled": False,
        "health": None,
        "pid": 100 + domid,
        "pids": {"main": 100 + domid},
        "memory_mb": 1,
        "vcpus": 1,
        "cpu_seconds": 0.0,
        "walls": [],
        "uuid": f"00000000-0000-0000-0000-00000000000{domid}",
        "restart": "never",
        "restarts": 0,
        "program": None,
        "devices": list(devices),
        **more,
    }
    return row  # type: ignore[return-value]


def rule(number: int, text: str, domid: int, fired: int = 1, **settings: Any) -> StandingRule:
    return {
        "number": number,
        "text": text,
        "domain": f"00000000-0000-0000-0000-00000000000{domid}",
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
