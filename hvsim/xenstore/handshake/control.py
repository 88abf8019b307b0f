"""``CONTROL handshake``: the monitor's records for whoever asks, as JSON in pieces that fit.

``handshake``                      the mode, and a line for each device
``handshake <offset>``             the same from the *offset*-th device on
``handshake <device> [<after>]``   the records of one device with numbers above *after*

Each answer has ``next``: what to ask for in place of *offset* or *after*, null when that was all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from hvsim.abi import xs_wire
from hvsim.abi.errno import EINVAL, ENOENT
from hvsim.xenstore.handshake.device import DeviceRow, Record
from hvsim.xenstore.handshake.monitor import Monitor
from hvsim.xenstore.rules.errors import Refused

HANDSHAKES: Final = "handshakes.json"
"""What the monitor knew at the end of the lab (:func:`everything`), beside the store's journal."""
_ROOM: Final = xs_wire.XENSTORE_PAYLOAD_MAX - 16


def everything(monitor: Monitor) -> str:
    """All that the monitor knows, as one JSON text: {mode, devices, records by device}."""
    return json.dumps(
        {
            "mode": "strict" if monitor.strict else "record",
            "devices": [device.summary() for device in monitor.devices.values()],
            "records": {name: list(found.records) for name, found in monitor.devices.items()},
        }
    )


def handshake(monitor: Monitor, arguments: list[bytes]) -> bytes:
    """Answer one request.

    Raises: Refused: EINVAL for other arguments; ENOENT for a device of
        which nothing was seen.
    """
    if len(arguments) > 2:
        raise Refused(EINVAL)
    name = arguments[0].decode("ascii", "replace") if arguments else "0"
    if name.isdigit() and len(arguments) < 2:
        start = int(name)
        head: dict[str, object] = {
            "mode": "strict" if monitor.strict else "record",
            "devices": [],
            "next": None,
        }
        rows = [device.summary() for device in list(monitor.devices.values())[start:]]
        return _fitting(head, "devices", rows, range(start, start + len(rows)))
    device = monitor.devices.get(name)
    if device is None:
        raise Refused(ENOENT)
    after_text = arguments[1] if len(arguments) > 1 else b"0"
    if not after_text.isdigit() or len(after_text) > 20:
        raise Refused(EINVAL)
    after = int(after_text)
    found = [record for record in device.records if record["seq"] > after]
    head = {"device": name, "records": [], "next": None}
    return _fitting(head, "records", found, (record["seq"] - 1 for record in found))


def _fitting(
    head: dict[str, object], key: str, rows: Iterable[Record | DeviceRow], marks: Iterable[int]
) -> bytes:
    """*head* with as many *rows* as fit; *marks* say how to ask for more from each row on."""
    kept: list[object] = []
    room = _ROOM - len(json.dumps(head))
    for row, mark in zip(rows, marks, strict=True):
        room -= len(json.dumps(row)) + 2
        if room < 0 and kept:
            head["next"] = mark
            break
        kept.append(row)
    head[key] = kept
    return json.dumps(head).encode() + b"\0"
