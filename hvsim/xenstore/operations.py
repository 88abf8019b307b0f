"""What each request does.

Every operation takes the connection, the payload and the transaction (None outside), and returns
the payload of the reply; it raises :class:`Refused` for an XS_ERROR.  None of them waits.

A payload that is empty or lacks its NUL is EINVAL everywhere.  (C xenstored 4.17.7 was seen to die
of an empty READ from a guest's ring, and answered ENOENT to it on its socket: an errno that some
earlier request had left behind.  There is nothing to agree with in that.)

Source: docs/misc/xenstore.txt; tools/xenstore/xenstored_core.c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hvsim.abi import xs_wire
from hvsim.abi.errno import (
    E2BIG,
    EACCES,
    EBUSY,
    EEXIST,
    EINVAL,
    ENOENT,
    ENOSPC,
    EPERM,
)
from hvsim.xenstore import control, paths, quota
from hvsim.xenstore import permissions as perm
from hvsim.xenstore.errors import Refused
from hvsim.xenstore.permissions import Permissions
from hvsim.xenstore.transaction import Transaction
from hvsim.xenstore.tree import Node, cost

if TYPE_CHECKING:
    from hvsim.xenstore.connection import Connection

OK: Final = b"OK\0"

Operation = Callable[["Connection", bytes, Transaction | None], bytes]


# -- arguments -------------------------------------------------------------------------------------


def _one(payload: bytes) -> bytes:
    """The only string of a payload."""
    if payload.find(b"\0") != len(payload) - 1 or not payload:
        raise Refused(EINVAL)
    return payload[:-1]


def _strings(payload: bytes, minimum: int, maximum: int | None = None) -> list[bytes]:
    """The strings of a payload that ends with a NUL."""
    if payload[-1:] != b"\0":
        raise Refused(EINVAL)
    parts = payload[:-1].split(b"\0")
    if len(parts) < minimum or (maximum is not None and len(parts) > maximum):
        raise Refused(EINVAL)
    return parts


def _number(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise Refused(EINVAL)
    return int(text)


def _privileged(connection: Connection) -> None:
    if connection.domid != perm.PRIVILEGED_DOMID:
        raise Refused(EACCES)


# -- finding a node --------------------------------------------------------------------------------


def _find(connection: Connection, path: bytes, needed: int, tx: Transaction | None) -> Node:
    """The node at *path*, on which the connection has every right of *needed*.

    Raises: Refused: EACCES without the right; ENOENT when there is none, but EACCES when the
        connection has no such right on the closest parent either, so that nobody learns what
        exists where they may not look.
    """
    node = connection.store.tree.nodes.get(path) if tx is None else tx.get(path)
    domid = connection.domid
    if domid == perm.PRIVILEGED_DOMID:
        if node is None:
            raise Refused(ENOENT)
        return node
    if node is not None:
        if perm.access(node.perms, domid, connection.target) & needed != needed:
            raise Refused(EACCES)
        return node
    above = (connection.store.tree if tx is None else tx).nearest(path) if path != b"/" else None
    if above is not None and perm.access(above.perms, domid, connection.target) & needed:
        raise Refused(ENOENT)
    raise Refused(EACCES)


def _read(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    path = connection.canonical(_one(payload))
    return _find(connection, path, perm.READ, tx).value


def _names(connection: Connection, path: bytes, tx: Transaction | None) -> tuple[bytes, int]:
    node = _find(connection, path, perm.READ, tx)
    names = list(node.children.names) if tx is None else tx.names(path)
    data = b"\0".join(names) + b"\0" if names else b""
    return data, node.children.generation


def _directory(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    data, _ = _names(connection, connection.canonical(_one(payload)), tx)
    if len(data) > xs_wire.XENSTORE_PAYLOAD_MAX:
        raise Refused(E2BIG)
    return data


def _directory_part(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    """``<generation>NUL`` and the names from an offset on; a further NUL behind the last."""
    name, offset_text = _strings(payload, 2, 2)
    offset = _number(offset_text)
    data, generation = _names(connection, connection.canonical(name), tx)
    head = b"%d\0" % generation
    rest = data[offset:]
    room = xs_wire.XENSTORE_PAYLOAD_MAX - len(head) - 1
    if len(rest) <= room:
        return head + rest + b"\0"
    return head + rest[: rest.rindex(b"\0", 0, room) + 1]


def _get_perms(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    path = connection.canonical(_one(payload))
    return perm.render(_find(connection, path, perm.READ, tx).perms)


# -- changing --------------------------------------------------------------------------------------


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
            raise Refused(ENOSPC)
        if tx is None:
            owner = perms[0].domid
            same = old is not None and old.perms[0].domid == owner
            more = cost(path, len(value), len(perms))
            if same and old is not None:
                more -= cost(path, len(old.value), len(old.perms))
            account = store.tree.account(owner)
            quota.check_owner(account, owner, 0 if same else 1, more, limits)
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
        connection.store.fire(path, before=before)
    else:
        tx.changes[path] = (False, before)


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
    names = len(paths.basename(missing[-1])) + 1
    children = node.children.size if tx is None else tx.children_size(above)
    size = quota.node_size(len(node.perms), len(node.value), children + names)
    if size > limits.node_size:
        raise Refused(ENOSPC)
    if quota.node_size(len(perms), len(value), 0) > limits.node_size:
        raise Refused(ENOSPC)
    if tx is None:
        memory = sum(
            cost(current, len(value) if current is missing[0] else 0, len(perms))
            for current in missing
        )
        owner = perms[0].domid
        account = connection.store.tree.account(owner)
        quota.check_owner(account, owner, len(missing), memory, limits)


def _write(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    end = payload.find(b"\0")
    if end < 0:
        raise Refused(EINVAL)
    path = connection.canonical(payload[:end])
    value = payload[end + 1 :]
    try:
        node = _find(connection, path, perm.WRITE, tx)
    except Refused as refused:
        if refused.errno != ENOENT:
            raise
        _create(connection, path, value, tx)
    else:
        _put(connection, path, value, node.perms, node, tx)
    _changed(connection, path, tx)
    return OK


def _mkdir(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    path = connection.canonical(_one(payload))
    try:
        _find(connection, path, perm.WRITE, tx)
    except Refused as refused:
        if refused.errno != ENOENT:
            raise
        _create(connection, path, b"", tx)
        _changed(connection, path, tx)
    return OK


def _rm(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    path = connection.canonical(_one(payload))
    store = connection.store
    try:
        _find(connection, path, perm.WRITE, tx)
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
    else:
        for current in tx.remove(path):
            tx.changes[current] = (current != path, None)
    return OK


def _set_perms(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    parts = _strings(payload, 2)
    name = parts[0]
    store = connection.store
    unprivileged = connection.domid != perm.PRIVILEGED_DOMID
    if unprivileged and len(parts) - 1 > store.limits.permissions:
        raise Refused(ENOSPC)
    perms = perm.parse(parts[1:], store.exists)
    if perms[0].ignored:
        raise Refused(ENOENT)
    if name[:1] == b"@":
        if name not in store.special:
            raise Refused(EINVAL)
        if unprivileged:
            raise Refused(EACCES)
        store.special[name] = perms
        return OK
    path = connection.canonical(name)
    node = _find(connection, path, perm.WRITE | perm.OWNER, tx)
    if unprivileged and perms[0].domid != node.perms[0].domid:
        raise Refused(EPERM)
    _put(connection, path, node.value, perms, node, tx)
    _changed(connection, path, tx, before=node.perms)
    return OK


# -- watches ---------------------------------------------------------------------------------------


def _watch_path(connection: Connection, path: bytes) -> tuple[bytes, int]:
    """Absolute path of a watch, and the bytes to leave out of its events."""
    if path[:1] == b"@":
        if len(path) > xs_wire.XENSTORE_REL_PATH_MAX:
            raise Refused(EINVAL)
        return path, 0
    prefix = 0 if path[:1] == b"/" else len(connection.home) + 1
    return connection.canonical(path), prefix


def _watch(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    name, token = _strings(payload, 2, 2)
    path, prefix = _watch_path(connection, name)
    if (path, token) in connection.watches:
        raise Refused(EEXIST)
    store = connection.store
    account = store.tree.account(connection.domid)
    if connection.domid and account.watches >= store.limits.watches:
        raise Refused(E2BIG)
    account.watches += 1
    watch = store.watches.add(connection, path, prefix, token)
    connection.watches[path, token] = watch
    # The event stands behind the reply.
    connection.after_reply.append(watch.event(path))
    return OK


def _unwatch(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    name, token = _strings(payload, 2, 2)
    path, _ = _watch_path(connection, name)
    watch = connection.watches.pop((path, token), None)
    if watch is None:
        raise Refused(ENOENT)
    connection.store.watches.remove(watch)
    connection.store.tree.account(connection.domid).watches -= 1
    return OK


def _reset_watches(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    connection.reset()
    return OK


# -- transactions ----------------------------------------------------------------------------------


def _transaction_start(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    if tx is not None:
        raise Refused(EBUSY)
    store = connection.store
    limits = store.limits
    account = store.tree.account(connection.domid)
    limit = None
    if connection.domid:
        if account.transactions >= limits.transactions:
            raise Refused(ENOSPC)
        limit = limits.transaction_nodes
    account.transactions += 1
    number = connection.new_transaction_id()
    connection.transactions[number] = Transaction(store.tree, limit)
    return b"%d\0" % number


def _transaction_end(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    if tx is None:
        raise Refused(ENOENT)
    decision = _one(payload)
    if decision not in (b"T", b"F"):
        raise Refused(EINVAL)
    connection.drop_transaction(tx)
    if decision == b"T":
        _commit(connection, tx)
    return OK


def _commit(connection: Connection, tx: Transaction) -> None:
    store = connection.store
    tree = store.tree
    if connection.domid and tx.conflict() is None:
        for domid, (nodes, memory) in tx.usage().items():
            quota.check_owner(tree.account(domid), domid, nodes, memory, store.limits)
    # A removed node's permissions decide who hears of it: ask while it is there.
    gone = [p for p in tx.changes if p in tree.nodes and tx.get(p) is None]
    permissions_before = {p: tree.nodes[p].perms for p in gone}
    tx.commit()
    for path, (exact, before) in tx.changes.items():
        store.fire(path, exact, permissions_before.get(path, before))


# -- domains ---------------------------------------------------------------------------------------


def _introduce(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    _privileged(connection)
    domid, gfn, port = (_number(part) for part in _strings(payload, 3)[:3])
    connection.store.introduce(domid, gfn, port)
    return OK


def _release(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    _privileged(connection)
    connection.store.release(_number(_one(payload)))
    return OK


def _resume(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    _privileged(connection)
    connection.store.resume(_number(_one(payload)))
    return OK


def _set_target(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    _privileged(connection)
    domid, target = (_number(part) for part in _strings(payload, 2, 2))
    connection.store.set_target(domid, target)
    return OK


def _get_domain_path(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    return paths.home(_number(_one(payload))) + b"\0"


def _is_introduced(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    _privileged(connection)
    domain = connection.store.domains.get(_number(_one(payload)))
    return b"T\0" if domain is not None and domain.connected else b"F\0"


def _control(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    _privileged(connection)
    return control.run(connection.store, _strings(payload, 1))


OPERATIONS: Final[dict[int, Operation]] = {
    xs_wire.XS_CONTROL: _control,
    xs_wire.XS_DIRECTORY: _directory,
    xs_wire.XS_READ: _read,
    xs_wire.XS_GET_PERMS: _get_perms,
    xs_wire.XS_WATCH: _watch,
    xs_wire.XS_UNWATCH: _unwatch,
    xs_wire.XS_TRANSACTION_START: _transaction_start,
    xs_wire.XS_TRANSACTION_END: _transaction_end,
    xs_wire.XS_INTRODUCE: _introduce,
    xs_wire.XS_RELEASE: _release,
    xs_wire.XS_GET_DOMAIN_PATH: _get_domain_path,
    xs_wire.XS_WRITE: _write,
    xs_wire.XS_MKDIR: _mkdir,
    xs_wire.XS_RM: _rm,
    xs_wire.XS_SET_PERMS: _set_perms,
    xs_wire.XS_IS_DOMAIN_INTRODUCED: _is_introduced,
    xs_wire.XS_RESUME: _resume,
    xs_wire.XS_SET_TARGET: _set_target,
    xs_wire.XS_RESET_WATCHES: _reset_watches,
    xs_wire.XS_DIRECTORY_PART: _directory_part,
}
"""XS_* to operation.  What is not in here is answered with ENOSYS."""
