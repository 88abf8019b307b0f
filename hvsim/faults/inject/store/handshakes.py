"""The handshake of a device stands still in a state.

The half that would leave the state is told that it did; nobody sees it, itself neither.  So it
looks to its peer, to `xl` and to `ps` like a driver that hangs in the middle of a probe, and nobody
else who shares its connection to the store has to wait.  When the rule goes, what was held back is
written in its order.

What a toolstack writes into a half of somebody else (1 to begin, 5 to close a backend) is none of
the half's steps, and passes.  A half that goes back to the state, or to one before it, has begun
anew: what it wrote before is dropped.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from hvsim.abi.xs_wire import XS_TRANSACTION_END, XS_WRITE
from hvsim.domain.seams import STORE_OPERATIONS
from hvsim.domain.xenbus.state import TOOLSTACK_WRITES
from hvsim.faults.inject.store.shelf import Shelf
from hvsim.faults.inject.store.who import HALVES, Device, acting
from hvsim.xenstore.operations.table import OPERATIONS
from hvsim.xenstore.rules import permissions as perm
from hvsim.xenstore.rules.errors import Refused

if TYPE_CHECKING:
    from hvsim.domain.injection import Fault
    from hvsim.xenstore.handshake.places import Place
    from hvsim.xenstore.operations.table import Operation
    from hvsim.xenstore.rules.session import Session
    from hvsim.xenstore.rules.store import Operations, Store
    from hvsim.xenstore.rules.transaction import Transaction

MAX_HELD: Final = 64
"""Writes held back by one rule; the oldest is dropped when there is one more."""

_Write = tuple[int, bytes, int]
"""(domid, path, state); a state that is not held says that those before it are dropped."""


def stand(fault: Fault) -> Callable[[], None]:
    """Put *fault* between the halves of a device and their states."""
    frozen = Frozen(fault)
    take_out = fault.domain.seams.insert(STORE_OPERATIONS, frozen)

    def lift() -> None:
        take_out()
        frozen.thaw()

    return lift


class Frozen:
    """Holds back the writes that lead out of a state."""

    def __init__(self, fault: Fault) -> None:
        setting = fault.settings["freeze"]
        self._fault = fault
        self._device = Device(setting)
        self._state = int(setting["state"])
        half = fault.settings.get("half")
        self._halves = tuple(HALVES.values()) if half is None else (HALVES[half],)
        self._shelf: Shelf | None = None
        self._store: Store
        self._held: dict[bytes, _Write] = {}
        self._inside: WeakKeyDictionary[Transaction, list[_Write]] = WeakKeyDictionary()

    def __call__(self, operations: Operations, store: Store) -> Operations:
        """The operations of a store in which that device stands still."""
        if self._shelf is None:
            self._store, self._shelf = store, Shelf(store, self._fault.number)
            self._held = {name: _read(value) for name, value in self._shelf.all().items()}
        return {
            **operations,
            XS_WRITE: partial(self._write, operations[XS_WRITE]),
            XS_TRANSACTION_END: partial(self._end, operations[XS_TRANSACTION_END]),
        }

    def thaw(self) -> None:
        """Do what is held back."""
        if self._shelf is not None:
            self._let_go(None)
            self._shelf.clear()

    # -- requests ----------------------------------------------------------------------------------

    def _write(
        self, operation: Operation, session: Session, payload: bytes, tx: Transaction | None
    ) -> bytes:
        name, _, value = payload.partition(b"\0")
        if not name.endswith(b"/state") or not (value.isdigit() and len(value) == 1):
            return operation(session, payload, tx)
        path = session.canonical(name)
        place = self._device.place(self._store, path)
        if place is None or place.key != "state" or place.half not in self._halves:
            return operation(session, payload, tx)
        state = int(value)
        if _asks(session, place, state) or session.find(path, perm.WRITE, tx) is None:
            return operation(session, payload, tx)
        if state > self._state:
            if self._fault.fires():
                self._keep((session.domid, path, state), tx)
                self._fault.told(f"{self._device.name}: {place.half.value}'s {state} held back")
                return b"OK\0"
            self._let_go(path)  # this one passes, and those before it must not come later
        else:
            self._keep((session.domid, path, state), tx)
        return operation(session, payload, tx)

    def _end(
        self, operation: Operation, session: Session, payload: bytes, tx: Transaction | None
    ) -> bytes:
        answer = operation(session, payload, tx)
        if tx is not None and payload == b"T\0":
            for write in self._inside.pop(tx, ()):
                self._keep(write, None)
        return answer

    # -- what is held back -------------------------------------------------------------------------

    def _keep(self, write: _Write, tx: Transaction | None) -> None:
        if tx is not None:  # it may fail yet
            self._inside.setdefault(tx, []).append(write)
            return
        _, path, state = write
        if state <= self._state:
            for name in [name for name, held in self._held.items() if held[1] == path]:
                self._forget(name)
            return
        if len(self._held) >= MAX_HELD:
            self._forget(next(iter(self._held)))
        name = b"%08d" % (int(next(reversed(self._held), b"0")) + 1)
        self._held[name] = write
        if self._shelf is not None:
            self._shelf.put(name, b"%d %s %d" % (write[0], path, state))

    def _forget(self, name: bytes) -> None:
        del self._held[name]
        if self._shelf is not None:
            self._shelf.drop(name)

    def _let_go(self, path: bytes | None) -> None:
        """Do the writes that are held back: all, or those to one path."""
        for name, (domid, there, state) in list(self._held.items()):
            if path not in (None, there):
                continue
            self._forget(name)
            if there in self._store.tree.nodes:
                with acting(self._store, domid) as session:
                    _try(session, b"%s\0%d" % (there, state))


def _asks(session: Session, place: Place, state: int) -> bool:
    """Whether a write into a half is one of a toolstack, and none of the half."""
    if session.domid == 0 and session.name != "d0":  # not dom0's kernel, but a program
        return state in TOOLSTACK_WRITES[place.half]  # which has none of those that are no state
    return session.domid != place.owner


def _read(value: bytes) -> _Write:
    domid, path, state = value.split()
    return int(domid), path, int(state)


def _try(session: Session, payload: bytes) -> None:
    with contextlib.suppress(Refused):  # by a store that is strict, or without the right by now
        OPERATIONS[XS_WRITE](session, payload, None)
