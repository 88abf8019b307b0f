"""A device that does not go on: what stands between its halves, and who has to move.

What the two indices of a ring's events say is in xen/io/ring.h: whoever has taken everything asks
to be woken at the next (RING_FINAL_CHECK).  Once that next one is there and nothing moves, the bell
was lost, or who should have heard it does not look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hvsim.lab.states import state_name
from hvsim.observe.diagnosis import facts
from hvsim.observe.diagnosis.cause import NOTE, SLOW, STUCK, Cause, counted, duration
from hvsim.observe.diagnosis.host import BACK, BOTH, FRONT, NOBODY, Host, turn
from hvsim.observe.diagnosis.logs import log_of
from hvsim.toolstack.host.parts import KERNEL

if TYPE_CHECKING:
    from hvsim.wire.picture import DeviceRow

LAZY: Final = ("vif",)
"""Whose frontends take an answer when they need the room, and wait for none."""
GRACE: Final = 1.0
"""Seconds that a handshake may take for a step before it is called stuck."""
DETACH: Final = {"vbd": "block-detach", "vif": "network-detach"}


@dataclass(frozen=True)
class Symptom:
    """A device that does not go on.

    Attributes:
        turn: whose move it is: `FRONT`, `BACK`, `BOTH`, or `NOBODY`.
        what: handshake, closed, frontend-gone, circle, link-down, ring-full, bell-lost, unanswered.
        why: in words.
        unanswered: requests that are.
        since: seconds, as far as it is known.
    """

    turn: str
    what: str
    why: str
    unanswered: int = 0
    since: float | None = None


def symptom(host: Host, device: DeviceRow) -> Symptom | None:
    """What is wrong with a device; None while it goes on."""
    front, back = device["frontend_state"], device["backend_state"]
    known = not host.facts.picture["unknown"]
    if front == back == 4 or (front is back is None and not known):
        return _link(device) or _of_ring(host, device)
    return _of_handshake(host, device)


def _link(device: DeviceRow) -> Symptom | None:
    if device.get("link") == "down":
        return Symptom(BACK, "link-down", "its link is down")
    return None


def _of_handshake(host: Host, device: DeviceRow) -> Symptom | None:
    front, back = device["frontend_state"], device["backend_state"]
    steps = host.steps(device).values()
    since = max(0.0, host.facts.now - max(step["mono"] for step in steps)) if steps else None
    if since is not None and since < GRACE and front is not None:
        return None
    whose = turn(front, back)
    said = f"; {device['error']}" if device["error"] else ""
    why = f"frontend {_state(front)}, backend {_state(back)}{said}"
    what = {BOTH: "circle", NOBODY: "closed"}.get(whose, "handshake")
    if front is None:
        what = "frontend-gone"
    return Symptom(whose, what, why, 0, since)


def _of_ring(host: Host, device: DeviceRow) -> Symptom | None:
    ring, seconds = host.ring(device), device["waiting_seconds"] or None
    if ring is None:
        count = device["unanswered"] or 0
        if count and device["waits_for"]:
            return Symptom(BACK, "unanswered", "it does not answer", count, seconds)
        return None
    if ring["moved"]:
        return None
    awake = ring["awake"] if (seconds or 0.0) < GRACE else []
    asked, answered = facts.untaken_requests(ring), facts.untaken_answers(ring)
    if device["class"] in LAZY or _runs(host, device["frontend_domid"]):
        answered = 0
    open_, slots = facts.unanswered(ring), ring["slots"]
    if FRONT in awake:
        answered = 0
    if BACK in awake:
        asked = open_ = 0
    full = f"; the ring is full, all {slots} slots" if facts.in_use(ring) == slots else ""
    if answered and full:
        why = f"{counted(answered, 'answer')} not taken{full}"
        return Symptom(FRONT, "ring-full", why, open_, seconds)
    if asked:
        why = f"{counted(asked, 'request')} in the ring at which it has not looked{full}"
        return Symptom(BACK, "bell-lost", why, open_, seconds)
    if open_:
        why = f"it has taken every request, and does not answer{full}"
        return Symptom(BACK, "ring-full" if full else "unanswered", why, open_, seconds)
    if answered:
        why = f"{counted(answered, 'answer')} in the ring at which it has not looked"
        return Symptom(FRONT, "bell-lost", why, 0, seconds)
    return None


def cause(host: Host, device: DeviceRow, found: Symptom) -> Cause:
    """The cause, when nothing else explains the symptom: one of the halves."""
    front, server = host.front(device), host.server(device)
    if found.turn in (BOTH, NOBODY):
        made = Cause(host.label(device), found.what, "", "", "")
    elif found.turn == FRONT:
        made = Cause(front, found.what, "", "", "", device["frontend_domid"])
    else:
        made = Cause(server, found.what, "", "", "", device["backend_domid"] or None)
    made.severity, made.since = STUCK, found.since
    made.devices[host.label(device)] = None
    made.evidence += evidence(host, device)
    _WORDS[found.what](host, device, found, made)
    return made


def evidence(host: Host, device: DeviceRow) -> list[str]:
    """What a diagnosis of a device rests on: its states, its ring, the last act of each half."""
    label = host.label(device)
    front, back = _state(device["frontend_state"]), _state(device["backend_state"])
    said = [f"{label}: frontend {front}, backend {back}"]
    ring = host.ring(device)
    if ring is not None:
        said.append(
            f"{label}: requests {ring['req_prod']}, of which {facts.untaken_requests(ring)} not "
            f"taken; responses {ring['rsp_prod']}, of which {facts.untaken_answers(ring)} not taken"
        )
    for half, step in host.steps(device).items():
        ago = duration(max(0.0, host.facts.now - step["mono"]))
        said.append(
            f"{label}: the last of the {half}, {ago} ago, by {step['writer']}: {step['text']}"
        )
    for domid in (device["frontend_domid"], device["backend_domid"]):
        row = host.domains.get(domid)
        for act in (row.get("last_acts", []) if row is not None and domid else [])[-1:]:
            said.append(f"{host.name(domid)} did last: {act['kind']}: {act['text']}")
    return said


def _runs(host: Host, domid: int) -> bool:
    """Whether a guest is at work now: it will look when it is done."""
    row = host.domains.get(domid)
    return row is not None and bool(domid) and row["state"].startswith("r")


def _state(number: int | None) -> str:
    return state_name(None if number is None else str(number))


# -- a sentence and a cure for each ---------------------------------------------------------------


def _anew(host: Host, device: DeviceRow) -> str:
    front = host.front(device)
    return f"hvsim logs {front} says what its driver does; hvsim xl reboot {front} begins anew"


def _detach(host: Host, device: DeviceRow) -> str:
    verb, front = DETACH.get(device["class"]), host.front(device)
    words = f"hvsim xl {verb} {front} {device['devid']}" if verb else ""
    return words or f"hvsim device detach {front} {device['vdev']}"


def _handshake(host: Host, device: DeviceRow, found: Symptom, made: Cause) -> None:
    label, back = host.label(device), host.backend(device)
    front = f"the frontend of {host.full_name(device['frontend_domid'])}"
    states = _state(device["frontend_state"]), _state(device["backend_state"])
    said = f" ({device['error']})" if device["error"] else ""
    if found.turn == FRONT:
        number = device["backend_state"]
        made.says = (
            f"{label} is stuck in state {number}: {back} is {states[1]} and waits for {front}, "
            f"which is {states[0]}{said}"
        )
        made.cure = _anew(host, device)
        return
    made.says = (
        f"{label} is stuck in state {device['frontend_state']}: {front} is {states[0]} and waits "
        f"for {back}, which is {states[1]}{said}"
    )
    made.cure = _server_anew(host, device)


def _server_anew(host: Host, device: DeviceRow) -> str:
    server, row = host.server(device), host.domains.get(device["backend_domid"])
    again = f"{log_of(host, server)} says what it does"
    if server == KERNEL:
        return (
            f"{again}; {_detach(host, device)}, and attach it again ({KERNEL}'s end is the lab's)"
        )
    if device["backend_domid"] == 0 or (row is not None and row["restart"] == "always"):
        return f"{again}; hvsim fault kill {server}: it is made again, and goes on with its guests"
    return f"{again}; {_detach(host, device)}, and attach it again"


def _gone(host: Host, device: DeviceRow, found: Symptom, made: Cause) -> None:
    made.says = (
        f"{host.label(device)}: the frontend is gone, {host.full_name(device['frontend_domid'])} "
        f"has no such half any more; {host.backend(device)} is "
        f"{_state(device['backend_state'])} and waits for it"
    )
    made.cure = f"{_detach(host, device)}, and attach it again"


def _circle(host: Host, device: DeviceRow, found: Symptom, made: Cause) -> None:
    made.says = (
        f"{host.label(device)}: its two halves wait for each other: the frontend of "
        f"{host.full_name(device['frontend_domid'])} is {_state(device['frontend_state'])}, "
        f"{host.backend(device)} is {_state(device['backend_state'])}"
    )
    made.cure = f"hvsim xl reboot {host.front(device)} makes both begin anew"


def _closed(host: Host, device: DeviceRow, found: Symptom, made: Cause) -> None:
    made.severity = NOTE
    made.says = f"{host.label(device)} is closed on both sides, and nobody opens it again"
    made.cure = f"{_detach(host, device)}, and attach it again"


def _link_down(host: Host, device: DeviceRow, found: Symptom, made: Cause) -> None:
    made.says = f"the link of {host.label(device)} is down: {host.backend(device)} passes nothing"
    made.cure = "hvsim fault list shows whether a rule has it so"


def _full(host: Host, device: DeviceRow, found: Symptom, made: Cause) -> None:
    ring = host.ring(device)
    slots = "its" if ring is None else f"all {ring['slots']}"
    full = f"the ring of {host.label(device)} is full, {slots} slots"
    if found.turn == FRONT:
        who = host.full_name(device["frontend_domid"])
        made.says = f"{full}: {who} does not take its answers ({found.why.partition(';')[0]})"
        made.cure = _anew(host, device)
    else:
        made.says = f"{full}: {host.backend(device)} has taken its requests, and answers none"
        made.cure = _server_anew(host, device)


def _bell(host: Host, device: DeviceRow, found: Symptom, made: Cause) -> None:
    ends = device["frontend_domid"], device["backend_domid"]
    asked = found.turn == BACK
    deaf = host.backend(device) if asked else host.full_name(ends[0])
    if asked and _runs(host, ends[1]):
        made.what, made.severity = "busy", SLOW
        made.says = f"{deaf} is busy: {found.why}"
        made.cure = f"{log_of(host, made.culprit)} says what it does"
        return
    made.culprit = host.label(device)
    made.says = f"a doorbell of {made.culprit} was lost: {found.why}, and {deaf} sleeps"
    made.cure = f"hvsim fault add {made.culprit} bell.storm=1/s for=3s rings in its place"
    for record in host.records("event.dropped", "fault.fired"):
        if record["domid"] in ends and len(made.evidence) < 8:
            made.evidence.append(f"ledger {record['seq']}: {record['text']}")


def _silent(host: Host, device: DeviceRow, found: Symptom, made: Cause) -> None:
    made.subject, made.unanswered = host.backend(device), found.unanswered
    made.is_so = "it has taken them, and does not answer: its medium is slow, or it hangs"
    made.cure = _server_anew(host, device)


_WORDS: Final = {
    "handshake": _handshake,
    "frontend-gone": _gone,
    "circle": _circle,
    "closed": _closed,
    "link-down": _link_down,
    "ring-full": _full,
    "bell-lost": _bell,
    "unanswered": _silent,
}
