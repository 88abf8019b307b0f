"""A domain is at its quota: of nodes, watches and transactions.

The store refuses by itself, with its own numbers, and reports it as each quota that bites: for the
request the domain's account shows the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from hvsim.abi import xs_wire
from hvsim.domain.seams import STORE_OPERATIONS
from hvsim.faults.inject.store.who import Who
from hvsim.xenstore.rules.errors import Refused

if TYPE_CHECKING:
    from hvsim.domain.injection import Fault
    from hvsim.xenstore.operations.table import Operation
    from hvsim.xenstore.rules.session import Session
    from hvsim.xenstore.rules.store import Operations, Store
    from hvsim.xenstore.rules.transaction import Transaction

Needs = Callable[["Session", bytes, "Transaction | None"], bool]
"""Whether a request takes something of the quota."""


def stand(fault: Fault) -> Callable[[], None]:
    """Put *fault* before the requests of its domain that take something."""
    return fault.domain.seams.insert(STORE_OPERATIONS, Exhausted(fault))


class Exhausted:
    """Shows the store a domain that has nothing left."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._who = Who(fault.settings["domain"])
        if not self._who.limited:
            raise ValueError("dom0 has no quota")

    def __call__(self, operations: Operations, store: Store) -> Operations:
        """The operations of a store in which that domain is at its quota."""
        broken = {
            type: partial(self._answer, type, needs, operations[type])
            for type, needs in _NEEDS.items()
        }
        return {**operations, **broken}

    def _answer(
        self,
        type: int,
        needs: Needs,
        operation: Operation,
        session: Session,
        payload: bytes,
        tx: Transaction | None,
    ) -> bytes:
        if (
            not self._who.is_(session.store, session.domid)
            or not needs(session, payload, tx)
            or not self._fault.fires()
        ):
            return operation(session, payload, tx)
        try:
            with _nothing_left(session):
                return operation(session, payload, tx)
        except Refused as refused:
            if refused.limit:
                name = xs_wire.TYPE_NAMES[type]
                text = f"d{session.domid}: {name}: {refused}, no {refused.limit} left"
                self._fault.told(text)
            raise


@contextmanager
def _nothing_left(session: Session) -> Iterator[None]:
    """The account of a session's domain is full within the block."""
    account, limits = session.store.tree.account(session.domid), session.store.limits
    nodes = max(0, limits.nodes - account.nodes)
    watches = max(0, limits.watches - account.watches)
    transactions = max(0, limits.transactions - account.transactions)
    account.nodes += nodes
    account.watches += watches
    account.transactions += transactions
    try:
        yield
    finally:
        account.nodes -= nodes
        account.watches -= watches
        account.transactions -= transactions


def _always(session: Session, payload: bytes, tx: Transaction | None) -> bool:
    return True


def _new_node(session: Session, payload: bytes, tx: Transaction | None) -> bool:
    try:
        path = session.canonical(payload.partition(b"\0")[0])
        # Within a transaction nodes are counted at its end.
        return tx is None and path not in session.store.tree.nodes
    except Refused:
        return False


def _new_nodes(session: Session, payload: bytes, tx: Transaction | None) -> bool:
    if tx is None or payload != b"T\0" or tx.conflict() is not None:
        return False
    nodes, _ = tx.usage().get(session.domid, (0, 0))
    return nodes > 0


_NEEDS: dict[int, Needs] = {
    xs_wire.XS_WRITE: _new_node,
    xs_wire.XS_MKDIR: _new_node,
    xs_wire.XS_WATCH: _always,
    xs_wire.XS_TRANSACTION_START: _always,
    xs_wire.XS_TRANSACTION_END: _new_nodes,
}
