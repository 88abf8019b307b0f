"""The requests that change nodes: WRITE, MKDIR, RM, SET_PERMS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hvsim.abi.errno import EACCES, EINVAL, ENOENT, ENOSPC, EPERM
from hvsim.xenstore.handshake.monitor import concerns
from hvsim.xenstore.operations.arguments import OK, node_name, strings
from hvsim.xenstore.operations.read import find
from hvsim.xenstore.rules import paths, quota
from hvsim.xenstore.rules import permissions as perm
from hvsim.xenstore.rules.errors import Refused
from hvsim.xenstore.rules.permissions import Permissions
from hvsim.xenstore.rules.transaction import Transaction
from hvsim.xenstore.rules.tree import Node, cost

_SOFT: Final = "it uses more than the warning level (control quota-soft)"

if TYPE_CHECKING:
    from hvsim.xenstore.rules.connection import Connection


def _put(
    connection: Connection,
    path: bytes,
    value: bytes,
    perms: Permissions,
    old: Node | None,
    tx: Transaction | None,
) -> None:
    """Set one node whose parent exists, within the limits of its owner."""
    store = connection.store
    domid = connection.domid
    if domid != perm.PRIVILEGED_DOMID:
        limits = store.limits
        children = 0
        if old is not None:
            children = old.children.size if tx is None else tx.children_size(path)
        if quota.node_size(len(perms), len(value), children) > limits.node_size:
            raise Refused(ENOSPC, "node-size")
        if tx is not None:
            _charge_transaction(connection, tx, cost(path, len(value), len(perms)))
        else:
            owner = perms[0].domid
            same = old is not None and old.perms[0].domid == owner
            more = cost(path, len(value), len(perms))
            if same and old is not None:
                more -= cost(path, len(old.value), len(old.perms))
            account = store.tree.account(owner)
            if quota.check_owner(account, owner, 0 if same else 1, more, limits):
                store.limit("memory-soft", owner, _SOFT)
    if tx is None:
        store.tree.put(path, value, perms)
    else:
        tx.put(path, value, perms)


def _changed(
    connection: Connection,
    path: bytes,
    tx: Transaction | None,
    before: Permissions | None = None,
) -> None:
    """Fire the event, or keep it for the end of the transaction."""
    if tx is None:
        store = connection.store
        store.fire(path, before=() if before is None else (before,))
        if store.handshake is not None and before is None and concerns(path):
            store.handshake.wrote(connection, path)
    else:
        tx.changes[path] = False


def _create(connection: Connection, path: bytes, value: bytes, tx: Transaction | None) -> None:
    """Make a node and those of its parents that are missing; all or none."""
    store = connection.store
    tree = store.tree
    missing = [path]
    while True:
        above = paths.parent(missing[-1])
        node = tree.nodes.get(above) if tx is None else tx.get(above)
        if node is not None:
            break
        missing.append(above)
    perms = perm.inherited(node.perms, connection.domid)
    if connection.domid != perm.PRIVILEGED_DOMID:
        _check_create(connection, missing, node, above, value, perms, tx)
    for current in reversed(missing):
        data = value if current is path else b""
        if tx is None:
            tree.put(current, data, perms)
        else:
            tx.put(current, data, perms)


def _charge_transaction(connection: Connection, tx: Transaction, memory: int) -> None:
    """Count what an open transaction holds; given back when it ends.  Raises Refused(ENOMEM)."""
    store = connection.store
    domid = connection.domid
    account = store.tree.account(domid)
    if quota.check_owner(account, domid, 0, memory, store.limits):
        store.limit("memory-soft", domid, _SOFT)
    account.memory += memory
    tx.memory += memory


def _check_create(
    connection: Connection,
    missing: list[bytes],
    node: Node,
    above: bytes,
    value: bytes,
    perms: Permissions,
    tx: Transaction | None,
) -> None:
    """Check every limit before the first node is made.  Raises Refused(ENOSPC or ENOMEM)."""
    limits = connection.store.limits
    memory = sum(
        cost(current, len(value) if current is missing[0] else 0, len(perms)) for current in missing
    )
    names = len(paths.basename(missing[-1])) + 1
    children = node.children.size if tx is None else tx.children_size(above)
    size = quota.node_size(len(node.perms), len(node.value), children + names)
    if size > limits.node_size:
        raise Refused(ENOSPC, "node-size")
    if quota.node_size(len(perms), len(value), 0) > limits.node_size:
        raise Refused(ENOSPC, "node-size")
    if tx is not None:
        _charge_transaction(connection, tx, memory)
    else:
        owner = perms[0].domid
        account = connection.store.tree.account(owner)
        if quota.check_owner(account, owner, len(missing), memory, limits):
            connection.store.limit("memory-soft", owner, _SOFT)


def write(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    end = payload.find(b"\0")
    if end < 0:
        raise Refused(EINVAL)
    path = connection.canonical(payload[:end])
    value = payload[end + 1 :]
    handshake = connection.store.handshake
    if handshake is not None and not handshake.strict:
        handshake = None
    try:
        node = find(connection, path, perm.WRITE, tx)
    except Refused as refused:
        if refused.errno != ENOENT:
            raise
        if handshake is not None:
            handshake.check(connection, path, value, tx)
        _create(connection, path, value, tx)
    else:
        if handshake is not None:
            handshake.check(connection, path, value, tx)
        _put(connection, path, value, node.perms, node, tx)
    _changed(connection, path, tx)
    return OK


def mkdir(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    path = connection.canonical(node_name(payload))
    try:
        find(connection, path, perm.WRITE, tx)
    except Refused as refused:
        if refused.errno != ENOENT:
            raise
        _create(connection, path, b"", tx)
        _changed(connection, path, tx)
    return OK


def rm(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    path = connection.canonical(node_name(payload))
    store = connection.store
    try:
        find(connection, path, perm.WRITE, tx)
    except Refused as refused:
        if refused.errno != ENOENT:
            raise
        above = paths.parent(path)
        parent = store.tree.nodes.get(above) if tx is None else tx.get(above)
        if parent is None:
            raise
        return OK
    if path == b"/":
        raise Refused(EINVAL)
    if tx is None:
        store.remove(path)
        if store.handshake is not None:
            store.handshake.removed(connection, path)
    else:
        for current in tx.remove(path):
            tx.changes[current] = current != path
    return OK


def set_perms(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    parts = strings(payload, 2)
    name = parts[0]
    store = connection.store
    unprivileged = connection.domid != perm.PRIVILEGED_DOMID
    if unprivileged and len(parts) - 1 > store.limits.permissions:
        raise Refused(ENOSPC, "permissions")
    perms = perm.parse(parts[1:], store.exists)
    if perms[0].ignored:
        raise Refused(ENOENT)
    if name[:1] == b"@":
        before = store.special.get(name)
        if before is None:
            raise Refused(EINVAL)
        wanted = perm.WRITE | perm.OWNER
        if perm.access(before, connection.domid, connection.target) & wanted != wanted:
            raise Refused(EACCES)
        if unprivileged and perms[0].domid != before[0].domid:
            raise Refused(EPERM)
        store.special[name] = perms
        store.administration += 1
        return OK
    path = connection.canonical(name)
    node = find(connection, path, perm.WRITE | perm.OWNER, tx)
    if unprivileged and perms[0].domid != node.perms[0].domid:
        raise Refused(EPERM)
    _put(connection, path, node.value, perms, node, tx)
    _changed(connection, path, tx, before=node.perms)
    return OK
