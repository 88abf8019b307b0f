"""The requests about transactions: TRANSACTION_START, TRANSACTION_END."""

from __future__ import annotations

from hvsim.abi.errno import EBUSY, EINVAL, ENOENT, ENOSPC
from hvsim.xenstore.operations.arguments import OK, one
from hvsim.xenstore.rules import paths, quota
from hvsim.xenstore.rules import permissions as perm
from hvsim.xenstore.rules.errors import Refused
from hvsim.xenstore.rules.permissions import Permissions
from hvsim.xenstore.rules.session import Session
from hvsim.xenstore.rules.transaction import Transaction
from hvsim.xenstore.rules.tree import Tree


def transaction_start(session: Session, payload: bytes, tx: Transaction | None) -> bytes:
    if tx is not None:
        raise Refused(EBUSY)
    store = session.store
    limits = store.limits
    account = store.tree.account(session.domid)
    limit = None
    if session.domid:
        if account.transactions >= limits.transactions:
            raise Refused(ENOSPC, "transactions")
        limit = limits.transaction_nodes
    return b"%d\0" % session.begin(limit)


def transaction_end(session: Session, payload: bytes, tx: Transaction | None) -> bytes:
    if tx is None:
        raise Refused(ENOENT)
    decision = one(payload)
    if decision not in (b"T", b"F"):
        raise Refused(EINVAL)
    session.drop(tx)
    if decision == b"T":
        _commit(session, tx)
    return OK


def _blame(session: Session, tx: Transaction) -> None:
    """A transaction is in conflict: charge the domain that changed what it had read."""
    store = session.store
    path = tx.conflict()
    if store.governor is None or path is None or tx.doomed:
        return
    domid = tx.culprit(path)
    if domid not in (perm.PRIVILEGED_DOMID, session.domid) and store.governor.conflict(domid):
        where = path.decode("ascii", "backslashreplace")
        store.limit(
            "conflicts",
            domid,
            f"others' transactions fail because it keeps changing {where}; it is held",
        )


def _readers(tree: Tree, path: bytes) -> list[Permissions]:
    """The permissions of a node and of the directory that it is in, as far as they exist."""
    places = (tree.nodes.get(path), tree.nodes.get(paths.parent(path)))
    return [node.perms for node in places if node is not None]


def _commit(session: Session, tx: Transaction) -> None:
    store = session.store
    tree = store.tree
    if session.domid and tx.conflict() is None:
        for domid, (nodes, memory) in tx.usage().items():
            quota.check_owner(tree.account(domid), domid, nodes, memory, store.limits)
    # Who could read a node is told as well, of its removal and of the loss of the right.
    before = {path: _readers(tree, path) for path in tx.changes}
    try:
        tx.commit()
    except Refused:
        _blame(session, tx)
        raise
    for path, exact in tx.changes.items():
        store.fire(path, exact, before[path])
    if store.handshake is not None:
        store.handshake.committed(session, tx.changes)
