"""What a running lab knows of the handshakes of its devices: asked from its store, its toolstack
and its hypervisor."""

import json
from collections.abc import Iterable
from typing import Any, Final

from hvsim.errors import HvsimError
from hvsim.lab.answers import ControlError
from hvsim.lab.control import Control
from hvsim.lab.door import DoorError
from hvsim.lab.rundir import RunDir
from hvsim.names import device as device_names
from hvsim.observe import model
from hvsim.observe.events import snapshot
from hvsim.observe.picture import picture
from hvsim.observe.timeline import hypervisor_view, title
from hvsim.xenstore.handshake.places import locate
from hvsim.xs.blocking import SocketStore

Row = dict[str, Any]
HALVES: Final = ("frontend", "backend")


def devices(store: SocketStore) -> list[Row]:
    """A row for each device that the store's monitor has seen, the oldest first.

    Rows are those of ``CONTROL handshake``, with `vdev` (xvda, eth0, or the number) and the
    `mode` of the monitor ("record" or "strict").
    """
    rows: list[Row] = []
    start: int | None = 0
    while start is not None:
        answer = json.loads(store.control("handshake", str(start)))
        for row in answer["devices"]:
            row["mode"] = answer["mode"]
            rows.append(named(row))
        start = answer["next"]
    return rows


def named(row: Row) -> Row:
    """The same row, with what people call the device."""
    row["vdev"] = device_names.label(row["kind"], int(row["device"].rsplit("/", 1)[1]))
    return row


def records(store: SocketStore, device: str) -> list[Row]:
    """Every record that is kept of `device`, the oldest first."""
    found: list[Row] = []
    after: int | None = 0
    while after is not None:
        answer = json.loads(store.control("handshake", device, str(after)))
        found += answer["records"]
        after = answer["next"]
    return found


def choose_device(rows: list[Row], words: str) -> Row:
    """The device that `words` mean: "db-primary/xvda", "2/51712", "2/vbd/51712" or a store path.

    Of several (a guest that was created again has a new domid) the newest that still exists.
    Raises HvsimError, with the names that there are.
    """
    place = locate(words.encode()) if words.startswith("/") else None
    wanted = place.device if place is not None else words
    fits = [row for row in rows if wanted in _names(row)]
    living = [row for row in fits if not row["gone"]]
    if not fits:
        known = ", ".join(dict.fromkeys(title(row) for row in rows)) or "none yet"
        raise HvsimError(f"no device {words!r} was seen; seen were: {known}")
    return (living or fits)[-1]


def _names(row: Row) -> set[str]:
    domid, kind, number = row["device"].split("/")
    domains = {domid, row["names"].get(domid, domid)}
    tails = {number, row["vdev"], f"{kind}/{number}"}
    return {f"{domain}/{tail}" for domain in domains for tail in tails}


def history(run: RunDir, store: SocketStore, row: Row) -> list[Row]:
    """The records of the device `row`, with what the hypervisor's ledger says of its ring."""
    found = records(store, row["device"])
    try:
        return found + hypervisor_view(found, snapshot(run))
    except DoorError:
        return found  # the store has its half of it


def plight(run: RunDir, control: Control, rows: Iterable[Row]) -> dict[int, str]:
    """Why each domain that owns a half of one of the devices `rows` cannot act, if it cannot."""
    try:
        domains = picture(run, control)["domains"]
    except ControlError:
        return {}
    return model.plight(domains, (row[half]["domid"] for row in rows for half in HALVES))
