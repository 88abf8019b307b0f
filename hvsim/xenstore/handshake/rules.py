"""What the two halves of a split device may write, and when: the rules, and where each is from.

Pure: :func:`judge` is handed one write of a ``state`` node and says which rules it breaks,
:func:`early_read` the same for a read that found nothing.  The steps of either half are the tables
of ``hvsim.domain.xenbus.state``, which our own drivers obey as well.

Legal, because real drivers and toolstacks do it (recordings of a Xen 4.17 host): netfront goes
from 1 to 4 at once; blkfront skips 2; a state is written twice; a toolstack writes 1 into both
halves at any time and 5 into the backend; a backend that was bound anew goes from 4 to 2 and,
over the old ring, back to 4; a Windows frontend closes (5, 6) before it ever connects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from hvsim.abi.xenbus import XenbusState
from hvsim.domain.xenbus.state import (
    BACKEND_NEXT,
    FRONTEND_NEXT,
    TOOLSTACK_WRITES,
    Half,
    may_switch,
)

Has = Callable[[str], bool]
"""Whether a key exists in a half's directory, e.g. ``"queue-0/ring-ref"``."""


class Rule(NamedTuple):
    """A rule of the handshake.

    Attributes:
        name: short and stable, for programs.
        text: what must hold.
        source: where that is written down, or was seen.
    """

    name: str
    text: str
    source: str


class Breach(NamedTuple):
    """A rule that was broken, and by what."""

    rule: Rule
    text: str


class Writer(NamedTuple):
    """Who wrote.

    Attributes:
        label: KERN0, XL, SCRIPT, domU3, ...
        domid: its domain.
        tool: it came over the tools' socket, so it is a program of dom0 and not a kernel.
    """

    label: str
    domid: int
    tool: bool


class Pair(NamedTuple):
    """The device that is written to, and who owns its halves.

    Attributes:
        kind: class of the frontend: vbd, vif, ...
        backend_kind: type of the backend; qdisk serves a vbd.
        frontend_domid, backend_domid: owners of the halves; -1 when not known yet.
    """

    kind: str
    backend_kind: str
    frontend_domid: int
    backend_domid: int


STATE_NUMBER: Final = Rule(
    "not-a-state", "a state is one of the numbers 1 to 8", "enum xenbus_state in xen/io/xenbus.h"
)
FRONTEND_OWNER: Final = Rule(
    "wrong-side",
    "only the frontend's own domain moves the frontend; a toolstack may only reset it to 1",
    "xen/io/xenbus.h; recordings 20, 40, 93",
)
BACKEND_OWNER: Final = Rule(
    "wrong-side",
    "only the backend's own domain moves the backend; a toolstack may only create it (1) or ask "
    "it to close (5)",
    "xen/io/xenbus.h; recordings 20, 41, 61",
)
FRONTEND_STEP: Final = Rule(
    "illegal-step",
    "a frontend goes only the steps of the state machine",
    "xen/io/xenbus.h, xen/io/blkif.h (state diagrams); recordings 20, 41, 60, 72",
)
BACKEND_STEP: Final = Rule(
    "illegal-step",
    "a backend goes only the steps of the state machine",
    "xen/io/xenbus.h, xen/io/blkif.h (state diagrams); recordings 20, 41, 70",
)
DISK_FIRST_3: Final = Rule(
    "skips-initialised",
    "a disk's frontend becomes Initialised (3) first, and Connected (4) when the backend is",
    "xen/io/blkif.h (state diagrams)",
)
PUBLISH: Final = Rule(
    "not-published",
    "a frontend publishes its ring reference and its event channel before it says so",
    "xen/io/blkif.h (ring-ref, event-channel), xen/io/netif.h (tx-ring-ref, rx-ring-ref)",
)
BACKEND_SECOND: Final = Rule(
    "backend-first",
    "a backend becomes Connected only after its frontend has said that its ring is published",
    "xen/io/blkif.h (state diagrams); recordings 20, 42",
)
READ_AFTER: Final = Rule(
    "early-read",
    "a key of the other end is read after the other end has published it",
    "xen/io/blkif.h, xen/io/netif.h",
)

_RINGS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "vbd": (("ring-ref",), ("ring-ref0",)),
    "vif": (("tx-ring-ref", "rx-ring-ref"),),
}
"""Class to alternatives; all keys of one of them make a ring."""
_CHANNELS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "vbd": (("event-channel",),),
    "vif": (("event-channel",), ("event-channel-tx", "event-channel-rx")),
}
_FRONT_KEYS: Final = {
    kind: frozenset(key for table in (_RINGS, _CHANNELS) for keys in table[kind] for key in keys)
    for kind in _RINGS
}
_BACK_KEYS: Final[dict[str, frozenset[str]]] = {
    "vbd": frozenset({"sectors", "sector-size", "info"}),
}
"""Keys that a backend publishes before it is Connected, and that are never left out."""
_SAID: Final = frozenset(
    {
        XenbusState.Initialised,
        XenbusState.Connected,
        XenbusState.Reconfiguring,
        XenbusState.Reconfigured,
    }
)
"""States of a half that says so: what the other needs is published."""
_USERSPACE: Final = frozenset({"qdisk"})
"""Backends that are a process of their domain (qemu), with a tool's connection to the store."""


def published(kind: str, has: Has) -> bool:
    """Whether a frontend's directory has a ring and an event channel; True for classes of which
    it is not known what they publish."""
    if kind not in _RINGS:
        return True
    return any(
        all(has(prefix + key) for key in ring)
        and any(all(has(prefix + key) for key in channel) for channel in _CHANNELS[kind])
        for prefix in ("", "queue-0/")
        for ring in _RINGS[kind]
    )


def judge(
    pair: Pair,
    half: Half,
    writer: Writer,
    old: XenbusState | None,
    new: XenbusState,
    frontend_has: Has,
    other: XenbusState | None,
) -> list[Breach]:
    """The rules that *writer* breaks by writing *new* over *old* into the state of *half*.

    Args:
        old: None when it is not known; then only the side is judged.
        new: Unknown for a text that is no state.
        frontend_has: what there is in the frontend's directory once this was written.
        other: state of the other half; None when not known.
    """
    if new == XenbusState.Unknown:
        return [Breach(STATE_NUMBER, "this is none of them")]
    owner = pair.frontend_domid if half is Half.FRONTEND else pair.backend_domid
    own = writer.domid == owner and (
        not writer.tool or (half is Half.BACKEND and pair.backend_kind in _USERSPACE)
    )
    if writer.domid == 0 and writer.tool and new in TOOLSTACK_WRITES[half]:
        return []
    if not own and owner >= 0:
        rule = FRONTEND_OWNER if half is Half.FRONTEND else BACKEND_OWNER
        # What somebody else wrote is no step of the driver's: there is nothing more to judge.
        return [Breach(rule, f"{writer.label} wrote into the {half.value} of domain {owner}")]
    if old is None or old == new:
        return []
    if half is Half.FRONTEND:
        return _frontend(pair.kind, old, new, frontend_has)
    return _backend(old, new, other)


def _frontend(kind: str, old: XenbusState, new: XenbusState, has: Has) -> list[Breach]:
    found = []
    if not may_switch(Half.FRONTEND, old, new):
        found.append(_step(FRONTEND_STEP, Half.FRONTEND, old, new))
    fresh = old in (XenbusState.Initialising, XenbusState.InitWait)
    if new == XenbusState.Connected and fresh and kind == "vbd":
        found.append(Breach(DISK_FIRST_3, f"it went from {old} to {new}"))
    if new in (XenbusState.Initialised, XenbusState.Connected) and not published(kind, has):
        found.append(Breach(PUBLISH, "there is no ring reference, or no event channel"))
    return found


def _backend(old: XenbusState, new: XenbusState, other: XenbusState | None) -> list[Breach]:
    found = []
    if not may_switch(Half.BACKEND, old, new):
        found.append(_step(BACKEND_STEP, Half.BACKEND, old, new))
    if new == XenbusState.Connected and other is not None and other not in _SAID:
        found.append(Breach(BACKEND_SECOND, f"the frontend is {other.name} ({other})"))
    return found


def _step(rule: Rule, half: Half, old: XenbusState, new: XenbusState) -> Breach:
    table = FRONTEND_NEXT if half is Half.FRONTEND else BACKEND_NEXT
    allowed = ", ".join(f"{state.name} ({state})" for state in sorted(table[old]))
    return Breach(
        rule, f"from {old.name} ({old}) to {new.name} ({new}); from there only: {allowed}"
    )


def early_read(
    pair: Pair, half: Half, state: XenbusState | None, reader: Writer, key: str, frontend_has: Has
) -> list[Breach]:
    """The rule that *reader* breaks by reading *key* of *half*, which does not exist.

    *state* is that of *half*: whoever was told that all is published may look for it.
    """
    if state in _SAID:
        return []
    if half is Half.FRONTEND:
        reads_peer = reader.domid == pair.backend_domid and (
            not reader.tool or pair.backend_kind in _USERSPACE
        )
        name = key.rpartition("/")[2] if key.startswith("queue-") else key
        early = name in _FRONT_KEYS.get(pair.kind, ()) and not published(pair.kind, frontend_has)
    else:
        reads_peer = reader.domid == pair.frontend_domid and not reader.tool
        early = key in _BACK_KEYS.get(pair.kind, ())
    if not (reads_peer and early):
        return []
    return [Breach(READ_AFTER, f"{reader.label} read {key}, which is not there yet")]
