"""What the steps of a device's handshake mean, and who waits for whom: in plain words.  Pure."""

from collections.abc import Mapping
from typing import Any

from hvsim.abi.xenbus import XenbusState
from hvsim.names import device as device_names

Record = Mapping[str, Any]


def thing(kind: str) -> str:
    """What a person calls a device of this class."""
    return device_names.words(kind).thing


def step(record: Record, kind: str, other: int, tool: bool) -> str:
    """What the change of state in `record` means; "" when there is nothing to say.

    `other` is the state of the other half at that moment, `tool` says that a program of dom0
    wrote it, and not the driver whose state it is.
    """
    new, old = record["new"], record.get("old") or 0
    if new == old:
        return "written once more; that is allowed and changes nothing"
    front = record["half"] == "frontend"
    if tool:
        if new == 1 and not old:
            return (
                "the toolstack made this half of the device"
                if front
                else "the toolstack made this half; the backend driver has yet to find it"
            )
        if new == 1:
            return "the toolstack sets the device back to its beginning, for another backend"
        if new == 5 and not front:
            return "the toolstack takes the device away: the backend shall close"
        return "a program of dom0 wrote this, not the driver"
    words = _FRONT if front else _BACK
    if new == 4 and front and other != 4:
        return "the guest is ready; the backend is not yet"
    if new == 4:
        return words[4] if other == 4 or not front else words[3]
    return words.get(new, "").format(thing=thing(kind))


_FRONT = {
    1: "the guest's driver starts over",
    3: "the guest shares a page (the ring) and says where it is",
    4: "the guest has read what the backend offers and uses the device",
    5: "the guest closes the device",
    6: "the guest has let go of the device",
    7: "the guest changes the device while it works",
    8: "the change is done",
}
_BACK = {
    2: "the backend driver has found the {thing} and waits for the guest",
    3: "the backend is prepared",
    4: "the backend has mapped the guest's ring and serves it",
    5: "the backend closes the device",
    6: "the backend has let go of the device",
    7: "the backend changes the device while it works",
    8: "the change is done",
}


def removed(record: Record) -> str:
    """What the removal in `record` means."""
    if record["half"] == "frontend":
        return "taken away from the guest"
    if record["writer"] == "xenstored":
        return "the domain that served it is gone, and with it all that it had in the store"
    return f"the half in domain {record['owner']} is no more"


def waiting(
    device: Mapping[str, Any],
    front: str,
    back: str,
    keys: Mapping[str, str],
    plight: Mapping[int, str],
) -> list[str]:
    """Sentences: who waits for whom now, and what for.

    Args:
        device: a row of ``CONTROL handshake``.
        front, back: what the two domains are called.
        keys: what is known of the backend's keys.
        plight: domid to "paused", "stalled (SIGSTOP)" or "gone", for domains that cannot act.
    """
    states = (device["frontend"]["state"] or 0, device["backend"]["state"] or 0)
    kind = device["kind"]
    said = _now(states, thing(kind), front, back, kind)
    if states in ((4, 4), (0, 0)):
        return [said]
    if states[0] in (1, 3, 4) and states[1] == 2 and keys.get("hotplug-status") == "error":
        why = keys.get("hotplug-error", "no reason given")
        return [said, f"{back} cannot: its hotplug script failed ({why})."]
    sentences = [said]
    if "error" in keys and 4 not in states:
        sentences.insert(0, f"{back} has reported an error: {keys['error']}.")
    if states[1] in (1, 2) and not _prepared(kind, keys):
        sentences.append(
            f"The hotplug script for {back} has not finished: nothing stands behind "
            f"the {thing(kind)} yet, and until then {back} cannot connect."
        )
    for half, name in (("frontend", front), ("backend", back)):
        trouble = plight.get(device[half]["domid"])
        if trouble:
            sentences.append(
                f"{name} is {trouble}, so it will not go on by itself{_remedy(trouble, name)}."
            )
    return sentences


def _prepared(kind: str, keys: Mapping[str, str]) -> bool:
    if not device_names.words(kind).scripted:
        return True
    return "physical-device" in keys or keys.get("hotplug-status") == "connected"


def _remedy(trouble: str, name: str) -> str:
    plain = name.partition(" (")[0]
    if trouble == "paused":
        return f" (`hvsim xl unpause {plain}`)"
    return f" (`hvsim fault resume {plain}`)" if trouble.startswith("stalled") else ""


def _now(states: tuple[int, int], what: str, front: str, back: str, kind: str) -> str:
    f, b = states
    known = device_names.words(kind)
    ring, ready = known.ring, known.published
    if states == (4, 4):
        return f"Nobody waits: the {what} is connected."
    if states == (0, 0):
        return f"The {what} is no more."
    if f == 0:
        return f"The guest has lost the {what}; {back} still has its half ({name_of(b)})."
    if b == 0:
        return f"{front} waits for a new backend; until there is one, its requests wait as well."
    if 5 in states or 6 in states:
        return _closing(f, b, front, back)
    if b == 1:
        return f"{front} waits for {back}, whose driver has to find the {what}: InitWait (2)."
    if f == 1:
        return (
            f"{back} waits for {front}, whose driver has to publish {ring} and "
            f"event-channel and then write {ready}."
        )
    if f == 3 and b == 4:
        return (
            f"{back} serves the ring and waits for {front}, which has to read the {what}'s "
            "properties and write Connected (4)."
        )
    return f"{front} waits for {back}, which has to map the ring and write Connected (4)."


def _closing(f: int, b: int, front: str, back: str) -> str:
    if (f, b) == (6, 6):
        return "Closed at both ends. It stays so until it is taken away, or the guest starts over."
    if f in (5, 6):
        return f"{front} has closed; {back} has to close as well: Closed (6)."
    return f"{back} closes; {front} has to let go: Closed (6)."


def name_of(state: int | None) -> str:
    """ "Connected (4)"; "absent" for a half that does not exist."""
    return f"{XenbusState(state).name} ({state})" if state else "absent"
