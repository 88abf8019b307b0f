"""A directory is taken away with all below it, as by a clumsy administrator.

As soon as it is there; `after` and `every` count the requests that leave it there.  What is gone
stays gone when the rule is taken away.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from hvsim.abi.xs_wire import XS_MKDIR, XS_RM, XS_TRANSACTION_END, XS_WRITE
from hvsim.domain.seams import STORE_OPERATIONS
from hvsim.faults.inject.store.who import Below, Who, acting
from hvsim.xenstore.operations.table import OPERATIONS

if TYPE_CHECKING:
    from hvsim.domain.injection import Fault
    from hvsim.domain.timers import Timer
    from hvsim.xenstore.operations.table import Operation
    from hvsim.xenstore.rules.session import Session
    from hvsim.xenstore.rules.store import Operations, Store
    from hvsim.xenstore.rules.transaction import Transaction


def stand(fault: Fault) -> Callable[[], None]:
    """Have *fault* take a directory away."""
    deletion = Deletion(fault)
    take_out = fault.domain.seams.insert(STORE_OPERATIONS, deletion)

    def lift() -> None:
        take_out()
        deletion.cancel()

    return lift


class Deletion:
    """Takes a directory away."""

    def __init__(self, fault: Fault) -> None:
        settings = fault.settings
        self._fault = fault
        self._below = Below(settings["delete"])
        self._who = Who(settings["domain"]) if "domain" in settings else None
        if self._who is None and not self._below.absolute:
            raise ValueError(f"delete: whose {settings['delete']}? domain=NAME says so")
        self._store: Store | None = None
        self._timer: Timer | None = None

    def __call__(self, operations: Operations, store: Store) -> Operations:
        """The operations of a store in which that directory does not last."""
        if self._store is None:
            self._store = store
            # In the next turn: the store may be in the middle of its own start.
            self._timer = self._fault.domain.vcpu.call_later(0.0, self._look)
        changes = (XS_WRITE, XS_MKDIR, XS_TRANSACTION_END)
        return {**operations, **{type: partial(self._after, operations[type]) for type in changes}}

    def cancel(self) -> None:
        """Not any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _after(
        self, operation: Operation, session: Session, payload: bytes, tx: Transaction | None
    ) -> bytes:
        answer = operation(session, payload, tx)
        self._look()
        return answer

    def _look(self) -> None:
        store = self._store
        if store is None or self._fault.spent:
            return
        domid = 0 if self._who is None else self._who.domid(store)
        if domid is None:
            return
        path = self._below.of(domid)
        if path not in store.tree.nodes or not self._fault.fires():
            return
        count = sum(1 for _ in store.tree.walk(path))
        with acting(store, 0, "FAULT") as session:
            OPERATIONS[XS_RM](session, path + b"\0", None)
        self._fault.told(f"{path.decode()} taken away, {count} nodes")
