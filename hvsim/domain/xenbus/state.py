"""The XenbusState machine of both halves, as tables.

Pure: no store, no clock.  A device asks :func:`may_switch` before it writes its own state, a
driver asks :func:`frontend_reaction` or :func:`backend_reaction` what a change at the other end
means.  The tables are those of Linux' blkfront (``blkback_changed``), blkback
(``frontend_changed``) and xenbus, and of the state diagrams in ``xen/io/blkif.h``; the numbers of
``XenbusState`` are those of ``xen/io/xenbus.h``.

What real Xen does and an author would not guess (recorded on a real host):

* A vbd frontend never writes InitWait: 1, 3, 4.  A vif frontend goes from 1 to 4 at once.
* On a detach the frontend goes from 4 to 6 without 5; in an orderly shutdown it writes 5 first.
* Kernels may write the same state twice, and a watch fires without any change: every
  reaction below is the same the second time, or NOTHING.
* A frontend that finds a backend at 4 before it published its ring (it missed InitWait)
  publishes then.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from hvsim.abi.xenbus import XenbusState
from hvsim.names.number import unsigned

Unknown = XenbusState.Unknown
Initialising = XenbusState.Initialising
InitWait = XenbusState.InitWait
Initialised = XenbusState.Initialised
Connected = XenbusState.Connected
Closing = XenbusState.Closing
Closed = XenbusState.Closed
Reconfiguring = XenbusState.Reconfiguring
Reconfigured = XenbusState.Reconfigured


class Half(Enum):
    """Which end of a split device."""

    FRONTEND = "frontend"
    BACKEND = "backend"


FRONTEND_NEXT: Final[dict[XenbusState, frozenset[XenbusState]]] = {
    Unknown: frozenset({Initialising, Closing, Closed}),
    Initialising: frozenset({Initialised, Connected, Closing, Closed}),
    InitWait: frozenset({Initialised, Connected, Closing, Closed}),
    Initialised: frozenset({Initialising, Connected, Closing, Closed}),
    Connected: frozenset({Initialising, Initialised, Closing, Closed, Reconfiguring}),
    Reconfiguring: frozenset({Connected, Reconfigured, Closing, Closed}),
    Reconfigured: frozenset({Connected, Closing, Closed}),
    Closing: frozenset({Initialising, Closed}),
    Closed: frozenset({Initialising, Initialised}),
}
"""Legal moves of a frontend's own state.  Staying is always legal.

Connected to Initialised (a new ring to a new backend) is the move of a resumed or moved device."""

BACKEND_NEXT: Final[dict[XenbusState, frozenset[XenbusState]]] = {
    Unknown: frozenset({Initialising, InitWait, Closing, Closed}),
    Initialising: frozenset({InitWait, Closing, Closed}),
    InitWait: frozenset({Initialised, Connected, Closing, Closed}),
    Initialised: frozenset({Connected, Closing, Closed}),
    Connected: frozenset({InitWait, Closing, Closed, Reconfiguring}),
    Reconfiguring: frozenset({Reconfigured, Closing, Closed}),
    Reconfigured: frozenset({Connected, Closing, Closed}),
    Closing: frozenset({Closed}),
    Closed: frozenset({InitWait, Closing}),
}
"""Legal moves of a backend's own state.  Staying is always legal.

Connected to InitWait is a backend driver that was bound anew under a living frontend; Closed to
Closing is the answer to a frontend that closes once more (recording 74)."""

TOOLSTACK_WRITES: Final[dict[Half, frozenset[XenbusState]]] = {
    Half.FRONTEND: frozenset({Initialising}),
    Half.BACKEND: frozenset({Initialising, Closing}),
}
"""States that a toolstack writes into halves that are not its own, whatever stood there before:
both halves begin at Initialising (again, when a device is moved to a new backend), and a detach
writes Closing, with ``online`` = 0, into the backend."""


def may_switch(half: Half, old: XenbusState, new: XenbusState) -> bool:
    """Whether *half* may write *new* over its own *old* state.  Staying is always allowed:
    a second Closing over the toolstack's Closing is on record."""
    table = FRONTEND_NEXT if half is Half.FRONTEND else BACKEND_NEXT
    return old == new or new in table[old]


class FrontendReaction(Enum):
    """What a frontend does when its backend's state was reported."""

    NOTHING = "nothing"
    PUBLISH = "publish ring and event channel, then Initialised"
    CONNECT = "read the backend's properties, then Connected"
    PUBLISH_AND_CONNECT = "publish, then connect: InitWait was missed"
    UPDATE = "already Connected: read the properties again (the disk may have been resized)"
    CLOSE = "release the ring, then Closed"


class BackendReaction(Enum):
    """What a backend does when its frontend's state was reported."""

    NOTHING = "nothing"
    REOPEN = "the frontend starts anew: InitWait"
    CONNECT = "map the ring, bind the event channel, then Connected"
    CLOSING = "answer with Closing"
    CLOSE = "release the ring, then Closed; the device stays (online = 1)"
    CLOSE_AND_UNREGISTER = "release the ring, Closed, then unregister (online = 0)"
    UNREGISTER = "the frontend's directory has gone: release everything and unregister"
    REFUSE = "a state no frontend may have: fatal error"


def frontend_reaction(own: XenbusState, backend: XenbusState) -> FrontendReaction:
    """What a frontend in state *own* does when its backend is seen in state *backend*.

    Linux ``drivers/block/xen-blkfront.c: blkback_changed()``.  A backend that vanished (Unknown)
    asks for nothing: the requests wait, as on a real host, until the toolstack moves the device
    or takes it away.
    """
    if backend == InitWait:
        return FrontendReaction.PUBLISH if own == Initialising else FrontendReaction.NOTHING
    if backend == Connected:
        if own == Initialised:
            return FrontendReaction.CONNECT
        if own == Connected:
            return FrontendReaction.UPDATE
        if own == Initialising:
            return FrontendReaction.PUBLISH_AND_CONNECT
        return FrontendReaction.NOTHING
    if backend in (Closing, Closed):
        return FrontendReaction.NOTHING if own == Closed else FrontendReaction.CLOSE
    return FrontendReaction.NOTHING


def backend_reaction(own: XenbusState, frontend: XenbusState, online: bool) -> BackendReaction:
    """What a backend in state *own* does when its frontend is seen in state *frontend*.

    *online* is the key ``online`` of the backend's own directory: 1 while the toolstack wants
    the device to exist.  Linux ``drivers/block/xen-blkback/xenbus.c: frontend_changed()``.
    """
    if frontend == Initialising:
        return BackendReaction.REOPEN if own == Closed else BackendReaction.NOTHING
    if frontend in (Initialised, Connected):
        if own in (Connected, Closing, Closed):
            return BackendReaction.NOTHING
        return BackendReaction.CONNECT
    if frontend == Closing:
        return BackendReaction.CLOSING
    if frontend == Closed:
        return BackendReaction.CLOSE if online else BackendReaction.CLOSE_AND_UNREGISTER
    if frontend == Unknown:
        return BackendReaction.UNREGISTER
    return BackendReaction.REFUSE


def parse_state(text: str | None) -> XenbusState:
    """The state written in a ``state`` node; Unknown for a missing node or for anything that is
    not one of the nine numbers (the node belongs to the peer, who may write what it likes)."""
    number = unsigned(text, Reconfigured)
    return Unknown if number is None else XenbusState(number)
