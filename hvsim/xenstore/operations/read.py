"""The requests that look at nodes: READ, DIRECTORY, DIRECTORY_PART, GET_PERMS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hvsim.abi import xs_wire
from hvsim.abi.errno import E2BIG, EACCES, ENOENT
from hvsim.xenstore.operations.arguments import node_name, number, strings
from hvsim.xenstore.rules import permissions as perm
from hvsim.xenstore.rules.errors import Refused
from hvsim.xenstore.rules.transaction import Transaction
from hvsim.xenstore.rules.tree import Node

if TYPE_CHECKING:
    from hvsim.xenstore.rules.connection import Connection


def find(connection: Connection, path: bytes, needed: int, tx: Transaction | None) -> Node:
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


def read(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    path = connection.canonical(node_name(payload))
    try:
        return find(connection, path, perm.READ, tx).value
    except Refused as refused:
        if refused.errno == ENOENT and connection.store.handshake is not None:
            connection.store.handshake.missed(connection, path)
        raise


def names(connection: Connection, path: bytes, tx: Transaction | None) -> tuple[bytes, int]:
    node = find(connection, path, perm.READ, tx)
    if tx is None:
        return node.children.listing(), node.children.generation
    names = tx.names(path)
    data = b"\0".join(names) + b"\0" if names else b""
    return data, tx.generation(node)


def directory(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    data, _ = names(connection, connection.canonical(node_name(payload)), tx)
    if len(data) > xs_wire.XENSTORE_PAYLOAD_MAX:
        raise Refused(E2BIG)
    return data


def directory_part(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    """``<generation>NUL`` and the names from an offset on; a further NUL behind the last."""
    name, offset_text = strings(payload, 2, 2)
    offset = number(offset_text)
    data, generation = names(connection, connection.canonical(name), tx)
    head = b"%d\0" % generation
    rest = data[offset:]
    room = xs_wire.XENSTORE_PAYLOAD_MAX - len(head) - 1
    if len(rest) <= room:
        return head + rest + b"\0"
    return head + rest[: rest.rindex(b"\0", 0, room) + 1]


def get_perms(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    path = connection.canonical(node_name(payload))
    return perm.render(find(connection, path, perm.READ, tx).perms)
