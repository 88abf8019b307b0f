"""The requests about watches and transactions of one connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hvsim.abi import xs_wire
from hvsim.abi.errno import E2BIG, EBUSY, EEXIST, EINVAL, ENOENT, ENOSPC
from hvsim.xenstore.operations.arguments import OK, one, strings
from hvsim.xenstore.rules import paths, quota
from hvsim.xenstore.rules import permissions as perm
from hvsim.xenstore.rules.errors import Refused
from hvsim.xenstore.rules.permissions import Permissions
from hvsim.xenstore.rules.quota import watch_cost
from hvsim.xenstore.rules.transaction import Transaction
from hvsim.xenstore.rules.tree import Tree

if TYPE_CHECKING:
    from hvsim.xenstore.rules.connection import Connection


def _watch_path(connection: Connection, path: bytes) -> tuple[bytes, int]:
    """Absolute path of a watch, and the bytes to leave out of its events."""
    if path[:1] == b"@":
        if len(path) > xs_wire.XENSTORE_REL_PATH_MAX:
            raise Refused(EINVAL)
        return path, 0
    prefix = 0 if path[:1] == b"/" else len(connection.home) + 1
    return connection.canonical(path), prefix


def watch(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    name, token = strings(payload, 2, 2)
    path, prefix = _watch_path(connection, name)
    if (path, token) in connection.watches:
        raise Refused(EEXIST)
    store = connection.store
    account = store.tree.account(connection.domid)
    if connection.domid and account.watches >= store.limits.watches:
        raise Refused(E2BIG, "watches")
    memory = watch_cost(path, token)
    quota.check_owner(account, connection.domid, 0, memory, store.limits)
    account.watches += 1
    account.memory += memory
    watch = store.watches.add(connection, path, prefix, token)
    connection.watches[path, token] = watch
    # The event stands behind the reply.
    connection.after_reply.append(watch.event(path))
    return OK


def unwatch(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    name, token = strings(payload, 2, 2)
    path, _ = _watch_path(connection, name)
    watch = connection.watches.pop((path, token), None)
    if watch is None:
        raise Refused(ENOENT)
    connection.store.watches.remove(watch)
    account = connection.store.tree.account(connection.domid)
    account.watches -= 1
    account.memory -= watch_cost(path, token)
    return OK


def reset_watches(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    connection.reset()
    return OK


# -- transactions ----------------------------------------------------------------------------------


def transaction_start(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    if tx is not None:
        raise Refused(EBUSY)
    store = connection.store
    limits = store.limits
    account = store.tree.account(connection.domid)
    limit = None
    if connection.domid:
        if account.transactions >= limits.transactions:
            raise Refused(ENOSPC, "transactions")
        limit = limits.transaction_nodes
    account.transactions += 1
    number = connection.new_transaction_id()
    connection.transactions[number] = Transaction(store.tree, limit)
    return b"%d\0" % number


def transaction_end(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    if tx is None:
        raise Refused(ENOENT)
    decision = one(payload)
    if decision not in (b"T", b"F"):
        raise Refused(EINVAL)
    connection.drop_transaction(tx)
    if decision == b"T":
        _commit(connection, tx)
    return OK


def _blame(connection: Connection, tx: Transaction) -> None:
    """A transaction is in conflict: charge the domain that changed what it had read."""
    store = connection.store
    path = tx.conflict()
    if store.governor is None or path is None or tx.doomed:
        return
    domid = tx.culprit(path)
    if domid not in (perm.PRIVILEGED_DOMID, connection.domid) and store.governor.conflict(domid):
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


def _commit(connection: Connection, tx: Transaction) -> None:
    store = connection.store
    tree = store.tree
    if connection.domid and tx.conflict() is None:
        for domid, (nodes, memory) in tx.usage().items():
            quota.check_owner(tree.account(domid), domid, nodes, memory, store.limits)
    # Who could read a node is told as well, of its removal and of the loss of the right.
    before = {path: _readers(tree, path) for path in tx.changes}
    try:
        tx.commit()
    except Refused:
        _blame(connection, tx)
        raise
    for path, exact in tx.changes.items():
        store.fire(path, exact, before[path])
    if store.handshake is not None:
        store.handshake.committed(connection, tx.changes)
