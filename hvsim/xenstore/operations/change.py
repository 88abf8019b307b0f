"""The requests that change nodes: WRITE, MKDIR, RM, SET_PERMS."""

from __future__ import annotations

from typing import Final

from hvsim.abi.errno import EACCES, EINVAL, ENOENT, ENOSPC, EPERM
from hvsim.xenstore.operations.arguments import OK, node_name, strings
from hvsim.xenstore.operations.read import existing
from hvsim.xenstore.rules import paths, quota
from hvsim.xenstore.rules import permissions as perm
from hvsim.xenstore.rules.errors import Refused
from hvsim.xenstore.rules.permissions import Permissions
from hvsim.xenstore.rules.session import Session
from hvsim.xenstore.rules.transaction import Transaction
from hvsim.xenstore.rules.tree import Node, node_cost

_SOFT: Final = "it uses more than the warning level (control quota-soft)"


def _put(
    session: Session,
    path: bytes,
    value: bytes,
    perms: Permissions,
    old: Node | None,
    tx: Transaction | None,
) -> None:
    """Set one node whose parent exists, within the limits of its owner."""
    store = session.store
    domid = session.domid
    if domid != perm.PRIVILEGED_DOMID:
        limits = store.limits
        children = 0
        if old is not None:
            children = old.children.size if tx is None else tx.children_size(path)
        if quota.node_size(len(perms), len(value), children) > limits.node_size:
            raise Refused(ENOSPC, "node-size")
        if tx is not None:
            _charge_transaction(session, tx, node_cost(path, len(value), len(perms)))
        else:
            owner = perms[0].domid
            same = old is not None and old.perms[0].domid == owner
            more = node_cost(path, len(value), len(perms))
            if same and old is not None:
                more -= node_cost(path, len(old.value), len(old.perms))
            account = store.tree.account(owner)
            if quota.check_owner(account, owner, 0 if same else 1, more, limits):
                store.limit("memory-soft", owner, _SOFT)
    if tx is None:
        store.tree.put(path, value, perms)
    else:
        tx.put(path, value, perms)


def _changed(
    session: Session,
    path: bytes,
    tx: Transaction | None,
    before: Permissions | None = None,
) -> None:
    """Fire the event, or keep it for the end of the transaction."""
    if tx is None:
        store = session.store
        store.fire(path, before=() if before is None else (before,))
        handshake = store.handshake
        if handshake is not None and before is None and handshake.concerns(path):
            handshake.wrote(session, path)
    else:
        tx.changes[path] = False


def _create(session: Session, path: bytes, value: bytes, tx: Transaction | None) -> None:
    """Make a node and those of its parents that are missing; all or none."""
    store = session.store
    tree = store.tree
    missing = [path]
    while True:
        above, name = paths.split(missing[-1])
        node = tree.nodes.get(above) if tx is None else tx.get(above)
        if node is not None:
            break
        missing.append(above)
    perms = perm.inherited(node.perms, session.domid)
    if session.domid != perm.PRIVILEGED_DOMID:
        children = node.children.size if tx is None else tx.children_size(above)
        size = quota.node_size(len(node.perms), len(node.value), children + len(name) + 1)
        if size > store.limits.node_size:
            raise Refused(ENOSPC, "node-size")
        _check_create(session, missing, value, perms, tx)
    for current in reversed(missing):
        data = value if current is path else b""
        if tx is None:
            tree.put(current, data, perms)
        else:
            tx.put(current, data, perms)


def _charge_transaction(session: Session, tx: Transaction, memory: int) -> None:
    """Count what an open transaction holds; given back when it ends.  Raises Refused(ENOMEM)."""
    store = session.store
    domid = session.domid
    account = store.tree.account(domid)
    if quota.check_owner(account, domid, 0, memory, store.limits):
        store.limit("memory-soft", domid, _SOFT)
    account.memory += memory
    tx.memory += memory


def _check_create(
    session: Session,
    missing: list[bytes],
    value: bytes,
    perms: Permissions,
    tx: Transaction | None,
) -> None:
    """Check every limit of who will own them before the first node is made.

    Raises: Refused(ENOSPC or ENOMEM).
    """
    limits = session.store.limits
    owner = perms[0].domid
    account = session.store.tree.account(owner)
    memory = sum(node_cost(current, 0, len(perms)) for current in missing) + len(value)
    if quota.node_size(len(perms), len(value), 0) > limits.node_size:
        raise Refused(ENOSPC, "node-size")
    if tx is not None:
        _charge_transaction(session, tx, memory)
    elif quota.check_owner(account, owner, len(missing), memory, limits):
        session.store.limit("memory-soft", owner, _SOFT)


def write(session: Session, payload: bytes, tx: Transaction | None) -> bytes:
    end = payload.find(b"\0")
    if end < 0:
        raise Refused(EINVAL)
    path = session.canonical(payload[:end])
    value = payload[end + 1 :]
    handshake = session.store.handshake
    if handshake is not None and not handshake.strict:
        handshake = None
    node = session.find(path, perm.WRITE, tx)
    if handshake is not None:
        handshake.check(session, path, value, tx)
    if node is None:
        _create(session, path, value, tx)
    else:
        _put(session, path, value, node.perms, node, tx)
    _changed(session, path, tx)
    return OK


def mkdir(session: Session, payload: bytes, tx: Transaction | None) -> bytes:
    path = session.canonical(node_name(payload))
    if session.find(path, perm.WRITE, tx) is None:
        _create(session, path, b"", tx)
        _changed(session, path, tx)
    return OK


def rm(session: Session, payload: bytes, tx: Transaction | None) -> bytes:
    path = session.canonical(node_name(payload))
    store = session.store
    if session.find(path, perm.WRITE, tx) is None:
        above = paths.parent(path)
        if (store.tree.nodes.get(above) if tx is None else tx.get(above)) is None:
            raise Refused(ENOENT)
        return OK
    if path == b"/":
        raise Refused(EINVAL)
    if tx is None:
        store.remove(path)
        if store.handshake is not None:
            store.handshake.removed(session, path)
    else:
        for current in tx.remove(path):
            tx.changes[current] = current != path
    return OK


def set_perms(session: Session, payload: bytes, tx: Transaction | None) -> bytes:
    parts = strings(payload, 2)
    name = parts[0]
    store = session.store
    unprivileged = session.domid != perm.PRIVILEGED_DOMID
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
        if perm.access(before, session.domid, session.target) & wanted != wanted:
            raise Refused(EACCES)
        if unprivileged and perms[0].domid != before[0].domid:
            raise Refused(EPERM)
        store.special[name] = perms
        store.administration += 1
        return OK
    path = session.canonical(name)
    node = existing(session, path, perm.WRITE | perm.OWNER, tx)
    if unprivileged and perms[0].domid != node.perms[0].domid:
        raise Refused(EPERM)
    _put(session, path, node.value, perms, node, tx)
    _changed(session, path, tx, before=node.perms)
    return OK
