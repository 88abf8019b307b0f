"""The facts of a running lab, from whoever of it answers: nobody is waited for in vain.

The picture comes from the toolstack, or without it (`observe.picture`); rings, rules and ledger
from the hypervisor's door; what each half did last from the store's monitor.
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from hvsim.lab.builtin import BUILTIN
from hvsim.lab.control import Control
from hvsim.lab.door import Door, DoorError
from hvsim.lab.states import state_name
from hvsim.linux import proc
from hvsim.observe.diagnosis.facts import (
    LOOKED_AT,
    Facts,
    Record,
    Ring,
    StandingRule,
    Step,
    in_use,
    unanswered,
    untaken_answers,
)
from hvsim.observe.diagnosis.host import BACK, FRONT
from hvsim.observe.picture import picture
from hvsim.toolstack.host.parts import server_process
from hvsim.xs.blocking import SocketStore
from hvsim.xs.requests import StoreError
from hvsim.xs.waits import MACHINE, Waits

if TYPE_CHECKING:
    from hvsim.lab.rundir import RunDir
    from hvsim.observe.rows import SeenDomain
    from hvsim.wire.picture import DeviceRow

PATIENCE: Final = 0.1
"""Seconds that the toolstack has, and the store for each answer."""
RECORDS: Final = 5000
"""Records of the ledger in which those that matter are looked for, the newest; `KEPT` of them."""
KEPT: Final = 400
SECOND_LOOK: Final = 0.03
"""Seconds between two readings of a ring in which something lies: one that is busy moves."""
GLANCES: Final = 6
"""How often between them the processes of its halves are looked at.  One that sleeps meanwhile has
let lie what lies there, however busy it is with others before and after."""
STEPS: Final = 16
"""Devices of whose handshakes the last steps are asked for."""
CONNECTED: Final = 4
REFS: Final = {
    "vbd": ("ring-ref", "ring-ref0", "queue-0/ring-ref"),
    "vif": ("tx-ring-ref", "queue-0/tx-ring-ref"),
}
"""Where a frontend names the ring that it sends into."""
OTHER: Final = ("ring-ref",)
SLOTS: Final = {"vbd": 32, "vif": 256}
"""Slots of a ring of one page (__CONST_RING_SIZE of blkif.h and netif.h)."""


def look(run: RunDir) -> Facts:
    """Now."""
    with contextlib.closing(run.waits() or MACHINE) as waits:
        return _look(run, waits)


def _look(run: RunDir, waits: Waits) -> Facts:
    with Control(run.control, alive=lambda: run.running, waits=run.waits()) as control:
        seen = picture(run, control, full=True, patience=PATIENCE)
    ledger: list[Record] = []
    rules: list[StandingRule] = []
    rings: list[Ring] = []
    steps: dict[str, dict[str, Step]] = {}
    devices = [device for row in seen["domains"] for device in row["devices"]]
    if seen["source"] != "/proc":
        with contextlib.suppress(DoorError), Door(run.door) as door:
            ledger, rules = list(_ledger(door)), [_rule(row) for row in door.rules()]
            if not seen["unknown"] and not seen["lost"]:
                refs: list[tuple[DeviceRow, int, int | None]] = []
                with (
                    contextlib.suppress(OSError, StoreError, ValueError, LookupError),
                    SocketStore(str(run.xenstored), "CLI", "", PATIENCE, waits) as store,
                ):
                    refs = list(_refs(store, devices))
                    if run.store == BUILTIN:
                        steps = _steps(store, devices)
                rings = _rings(door, refs, _pids(seen["domains"]), waits)
    return Facts(seen, waits.now(), ledger, rings, steps, rules)


def _ledger(door: Door) -> Iterator[Record]:
    last = int(door.machine()["ledger_seq"])
    after, found = max(0, last - RECORDS), []
    while records := door.ledger(after, 1000):
        found += [record for record in records if record["kind"] in LOOKED_AT]
        after = records[-1]["seq"]
    yield from found[-KEPT:]


def _rule(row: dict[str, Any]) -> StandingRule:
    rule = row["rule"]
    peer = rule.get("peer")
    return {
        "number": rule["number"],
        "text": rule.get("text", ""),
        "domain": str(UUID(bytes=rule.get("domain", bytes(16)))),
        "process": rule.get("process", ""),
        "peer": None if peer is None else str(UUID(bytes=peer)),
        "seam": rule.get("seam", ""),
        "settings": rule.get("settings", {}),
        "times": rule.get("when", {}).get("times", 0),
        "fired": rule.get("fired", 0),
        "last": row["last"],
        "trouble": row["trouble"],
        "since": row["since"] / 1e9,
    }


def _refs(
    store: SocketStore, devices: Iterable[DeviceRow]
) -> Iterator[tuple[DeviceRow, int, int | None]]:
    """(device, grant of its ring, slots) of those that are connected."""
    known = [one for one in devices if one["frontend_state"] == one["backend_state"] == CONNECTED]
    paths = [path for device in known for path in _paths(device)]
    values = iter(store.read_many(paths))
    for device in known:
        *said, order = [next(values) for _ in _paths(device)]
        ref = next((int(text) for text in said if text is not None and _is_number(text)), None)
        slots = SLOTS.get(device["class"])
        if slots is not None and order is not None and _is_number(order):
            slots <<= min(int(order), 4)
        if ref is not None:
            yield device, ref, slots


def _paths(device: DeviceRow) -> list[str]:
    kind = device["class"]
    home = f"/local/domain/{device['frontend_domid']}/device/{kind}/{device['devid']}"
    return [f"{home}/{key}" for key in (*REFS.get(kind, OTHER), "ring-page-order")]


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < 10


def _pids(domains: Iterable[SeenDomain]) -> dict[tuple[int, str], int]:
    """The processes of halves: (domid, "main", or the name of dom0's process) -> pid."""
    return {
        (row["domid"], name): pid
        for row in domains
        for name, pid in row["pids"].items()
        if pid is not None
    }


def _awake(pids: dict[tuple[int, str], int], device: DeviceRow) -> list[str]:
    """Which halves of a device are at work, or ready to be."""
    server = server_process(device["backend_class"], device["frontend_domid"])
    back = (device["backend_domid"], "main" if device["backend_domid"] else server)
    halves = {FRONT: pids.get((device["frontend_domid"], "main")), BACK: pids.get(back)}
    return [half for half, pid in halves.items() if pid and proc.state(pid) in ("R", "D")]


def _rings(
    door: Door,
    refs: list[tuple[DeviceRow, int, int | None]],
    pids: dict[tuple[int, str], int],
    waits: Waits,
) -> list[Ring]:
    first = [_ring(door, *one) for one in refs]
    if not any(ring is not None and in_use(ring) for ring in first):
        return [ring for ring in first if ring is not None]
    waited = [_waited_for(ring) for ring in first]
    slept: list[set[str]] = [set() for _ in refs]
    for _ in range(GLANCES):
        waits.pause(SECOND_LOOK / GLANCES)
        for (device, *_), halves, seen in zip(refs, waited, slept, strict=True):
            if halves - seen:
                seen |= halves.difference(_awake(pids, device))
    found = []
    for before, one, seen in zip(first, refs, slept, strict=True):
        after = _ring(door, *one)
        if before is not None and after is not None:
            keys = ("req_event", "rsp_prod", "rsp_event")
            after["moved"] = any(before[key] != after[key] for key in keys)  # type: ignore[literal-required]
            after["awake"] = [half for half in _awake(pids, one[0]) if half not in seen]
            found.append(after)
    return found


def _waited_for(ring: Ring | None) -> set[str]:
    """The halves for which something lies in a ring."""
    if ring is None:
        return set()
    lies = {FRONT: untaken_answers(ring), BACK: unanswered(ring)}
    return {half for half, count in lies.items() if count}


def _ring(door: Door, device: DeviceRow, ref: int, slots: int | None) -> Ring | None:
    try:
        page = door.peek(device["frontend_domid"], ref, 0, 16)
    except DoorError:
        return None
    req_prod, req_event, rsp_prod, rsp_event = struct.unpack("<4I", page)
    return {
        "domid": device["frontend_domid"],
        "kind": device["class"],
        "devid": device["devid"],
        "req_prod": req_prod,
        "req_event": req_event,
        "rsp_prod": rsp_prod,
        "rsp_event": rsp_event,
        "slots": slots,
        "moved": False,
        "awake": [],
    }


def _steps(store: SocketStore, devices: Iterable[DeviceRow]) -> dict[str, dict[str, Step]]:
    """The last step of each half of the devices that are not connected."""
    found: dict[str, dict[str, Step]] = {}
    for device in devices:
        if device["frontend_state"] == device["backend_state"] == CONNECTED:
            continue
        key = f"{device['frontend_domid']}/{device['class']}/{device['devid']}"
        with contextlib.suppress(StoreError):  # the monitor has not seen it
            found[key] = _last_steps(store, key)
        if len(found) >= STEPS:
            break
    return found


def _last_steps(store: SocketStore, key: str) -> dict[str, Step]:
    found: dict[str, Step] = {}
    after: int | None = 0
    while after is not None:
        answer = json.loads(store.control("handshake", key, str(after)))
        for record in answer["records"]:
            if record["kind"] in ("state", "removed"):
                found[record["half"]] = {
                    "mono": float(record["mono"]),
                    "writer": str(record["writer"]),
                    "text": _step(record),
                }
        after = answer["next"]
    return found


def _step(record: dict[str, Any]) -> str:
    if record["kind"] == "removed":
        return "it was removed"
    return f"{state_name(str(record['old']))} -> {state_name(str(record['new']))}"
