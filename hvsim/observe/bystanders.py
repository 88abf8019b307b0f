"""What `hvsim ps` shows, told without the toolstack: by the hypervisor at its door, by the store,
and by what the toolstack itself has written down of its domains.

What only the toolstack's own look into a ring can tell (how many requests are unanswered) is
missing.
"""

import contextlib
from collections.abc import Iterable
from typing import Any, Final

from hvsim.domain.restarts import Restarts
from hvsim.lab.door import Door
from hvsim.lab.inquiry import Inquiry
from hvsim.names import device as device_names
from hvsim.toolstack.host.rows import About, domain_row, state_number
from hvsim.toolstack.host.trouble import Row
from hvsim.wire.picture import DeviceRow
from hvsim.xs.blocking import SocketStore
from hvsim.xs.requests import StoreError
from hvsim.xs.waits import MACHINE

STORE_TIMEOUT: Final = 0.1
"""Seconds that the store has for an answer; without it there are no states of devices."""


def tell(inquiry: Inquiry, why: str) -> dict[str, Any]:
    """The data of the toolstack's verb "ps"; *why* it does not tell it itself.

    Raises: DoorError.
    """
    with Door(inquiry.run.door) as door:
        infos, processes, pids = door.domains(), door.processes(), door.machine()["pids"]
    notes = inquiry.notes()
    with contextlib.closing(inquiry.run.waits() or MACHINE) as clock:
        now = clock.now()
    about = {note["domid"]: _about(note, now) for note in notes}
    names: dict[int, str | None] = {0: "Domain-0", **inquiry.names(notes)}
    devices: dict[int, list[DeviceRow]] = {}
    healths: dict[int, str | None] = {}
    unknown = why
    trouble = inquiry.store()
    if trouble is None:
        try:
            run = inquiry.run
            waits = run.waits() or MACHINE
            with SocketStore(str(run.xenstored), "CLI", "", STORE_TIMEOUT, waits) as store:
                domids = [int(info["domid"]) for info in infos]
                healths = _healths(store, domids)
                devices = _devices(store, domids, names)
        except (OSError, StoreError) as silent:
            unknown = f"{why}; {silent}"
    else:
        unknown = f"{why}; {trouble.text}"
    return {
        "domains": [
            domain_row(
                info,
                names.get(info["domid"]),
                healths.get(info["domid"]),
                processes,
                devices.get(info["domid"], []),
                about.get(info["domid"], About()),
            )
            for info in infos
        ],
        "processes": processes,
        "pids": pids,
        "gave_up": [note["gave_up"] for note in notes if note.get("gave_up")],
        "lost": "",
        "unknown": unknown,
    }


def _about(note: Row, now: float) -> About:
    request, lives = note.get("request") or {}, Restarts()
    lives.restore(note.get("lives"))
    return About(
        driver=request.get("profile") == "driver",
        restart=str(request.get("restart", "never")),
        restarts=lives.count,
        deaths=lives.recent(now),
        program=request.get("program"),
    )


def _healths(store: SocketStore, domids: list[int]) -> dict[int, str | None]:
    paths = [f"/local/domain/{domid}/data/health" for domid in domids]
    return dict(zip(domids, store.read_many(paths), strict=True))


def _devices(
    store: SocketStore, domids: Iterable[int], names: dict[int, str | None]
) -> dict[int, list[DeviceRow]]:
    """The devices of every domain, from libxl's own list."""
    found: dict[int, list[DeviceRow]] = {}
    for domid in domids:
        for kind in _kinds(store, domid):
            root = f"/libxl/{domid}/device/{kind}"
            for number in _children(store, root):
                row = _device(store, f"{root}/{number}", domid, kind, number, names)
                if row is not None:
                    found.setdefault(domid, []).append(row)
    return found


def _kinds(store: SocketStore, domid: int) -> list[str]:
    """The kinds of devices that a domain has and whose halves connect."""
    try:
        found = store.directory(f"/libxl/{domid}/device")
    except StoreError:
        return []
    return [kind for kind in found if kind not in device_names.SILENT]


def _children(store: SocketStore, path: str) -> list[str]:
    try:
        return [name for name in store.directory(path) if name.isdecimal()]
    except StoreError:
        return []


def _device(
    store: SocketStore,
    place: str,
    domid: int,
    kind: str,
    number: str,
    names: dict[int, str | None],
) -> DeviceRow | None:
    backend, frontend = store.read_many([f"{place}/backend", f"{place}/frontend"])
    parts = (backend or "").split("/")
    if len(parts) < 6 or not parts[3].isdecimal():
        return None
    front, back, error = store.read_many(
        [f"{frontend}/state", f"{backend}/state", f"{backend}/hotplug-error"]
    )
    owner = int(parts[3])
    row: DeviceRow = {
        "class": kind,
        "devid": int(number),
        "vdev": device_names.label(kind, int(number)),
        "frontend_domid": domid,
        "frontend_state": state_number(front),
        "backend_class": parts[5],
        "backend_domid": owner,
        "backend": names.get(owner),
        "error": error,
        "backend_state": state_number(back),
        "requests": None,
        "responses": None,
        "waits_for": None,
        "unanswered": None,
        "waiting_seconds": None,
    }
    if kind == "vif":
        row["mac"], row["link"] = store.read_many([f"{backend}/mac", f"{backend}/link"])
    return row
