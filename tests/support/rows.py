"""Rows of a host that is made up: all is well with them, and nothing is measured.

What a test is about it says by ``row | {...}``.
"""

from __future__ import annotations

from uuid import UUID

from hvsim.wire.picture import DeviceRow, DomainRow


def device_row(kind: str, devid: int, vdev: str, front: int, back: int) -> DeviceRow:
    """A device whose halves, those of domains *front* and *back*, are connected."""
    return {
        "class": kind,
        "devid": devid,
        "vdev": vdev,
        "frontend_domid": front,
        "frontend_state": 4,
        "backend_class": kind,
        "backend_domid": back,
        "backend": None,
        "backend_state": 4,
        "error": None,
        "requests": None,
        "responses": None,
        "unanswered": None,
        "waits_for": None,
        "waiting_seconds": None,
    }


def domain_row(domid: int, name: str, *devices: DeviceRow) -> DomainRow:
    """A domain that has nothing to do; its number is its handle."""
    return {
        "domid": domid,
        "name": name,
        "role": "guest",
        "state": "-b----",
        "stalled": False,
        "health": None,
        "pid": None,
        "pids": {},
        "memory_mb": 1,
        "vcpus": 1,
        "cpu_seconds": 0.0,
        "walls": [],
        "uuid": str(UUID(int=domid)),
        "restart": "never",
        "restarts": 0,
        "deaths": 0,
        "program": None,
        "devices": list(devices),
    }
