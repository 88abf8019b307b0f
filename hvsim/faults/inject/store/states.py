"""The state of a half of a device is written over and over, in turn one and another.

By whom the half belongs to, as a driver would that has gone mad.  When the rule goes, or will not
fire again, the half has the state that others gave it last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hvsim.abi.xs_wire import XS_WRITE
from hvsim.domain.seams import STORE_OPERATIONS
from hvsim.faults.inject.store.shelf import Shelf
from hvsim.faults.inject.store.who import HALVES, Device, acting
from hvsim.xenstore.operations.table import OPERATIONS
from hvsim.xenstore.rules.errors import Refused

if TYPE_CHECKING:
    from hvsim.domain.injection import Fault
    from hvsim.domain.timers import Timer
    from hvsim.xenstore.rules.store import Operations, Store

RATE_MAX: Final = 1000


def stand(fault: Fault) -> Callable[[], None]:
    """Have *fault* write a state."""
    thrash = Thrash(fault)
    take_out = fault.domain.seams.insert(STORE_OPERATIONS, thrash)

    def lift() -> None:
        take_out()
        thrash.end()

    return lift


class Thrash:
    """Writes a state."""

    def __init__(self, fault: Fault) -> None:
        settings = fault.settings
        self._fault = fault
        self._device = Device(settings["thrash"])
        self._half = HALVES[settings.get("half", "back")]
        states = settings.get("between", [3, 4])
        if states[0] < 1 or states[1] > 6 or states[0] == states[1]:
            raise ValueError("between: two different states from 1 to 6 are wanted, such as 3..4")
        rate = settings.get("rate", 10)
        if rate > RATE_MAX:
            raise ValueError(f"rate: {RATE_MAX} writes a second at most")
        self._pause = 1.0 / rate
        self._states: Final = tuple(b"%d" % state for state in states)
        self._store: Store | None = None
        self._shelf: Shelf
        self._timer: Timer | None = None
        self._path = b""
        self._written = b""
        self._others = b""

    def __call__(self, operations: Operations, store: Store) -> Operations:
        """The store's operations are left alone; here it is seen for the first time."""
        if self._store is None:
            self._store = store
            self._shelf = Shelf(store, self._fault.number)
            kept = self._shelf.all()
            self._path = kept.get(b"path", b"")
            self._written, self._others = kept.get(b"written", b""), kept.get(b"others", b"")
            self._wait()
        return operations

    def end(self) -> None:
        """Leave the half in the state that others gave it last."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        store = self._store
        if store is None:
            return
        node = store.tree.nodes.get(self._path)
        if node is not None and node.value == self._written:
            self._write(store, self._others)
        self._shelf.clear()

    def _wait(self) -> None:
        self._timer = self._fault.domain.vcpu.call_later(self._pause, self._go_on)

    def _go_on(self) -> None:
        self._timer = None
        if self._fault.spent:
            self.end()
            return
        self._wait()
        store = self._store
        path = None if store is None else self._device.state_path(store, self._half)
        if store is None or path is None or not self._fault.fires():
            return
        now = store.tree.nodes[path].value
        if path != self._path or now != self._written:
            self._path, self._others = path, now
            self._shelf.put(b"path", path)
            self._shelf.put(b"others", now)
        first, second = self._states
        value = second if now == first else first
        self._written = value
        self._shelf.put(b"written", value)
        outcome = self._write(store, value)
        self._fault.told(f"{self._device.name}: {self._half.value} in {value.decode()}{outcome}")

    def _write(self, store: Store, value: bytes) -> str:
        place = self._device.place(store, self._path)
        if place is None:
            return ", which is gone"
        with acting(store, place.owner) as session:
            try:
                OPERATIONS[XS_WRITE](session, b"%s\0%s" % (self._path, value), None)
            except Refused as refused:
                return f": refused, {refused}"
        return ""
