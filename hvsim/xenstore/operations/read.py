"""The requests that look at nodes: READ, DIRECTORY, DIRECTORY_PART, GET_PERMS."""

from __future__ import annotations

from hvsim.abi import xs_wire
from hvsim.abi.errno import E2BIG, ENOENT
from hvsim.xenstore.operations.arguments import node_name, number, strings
from hvsim.xenstore.rules import permissions as perm
from hvsim.xenstore.rules.errors import Refused
from hvsim.xenstore.rules.session import Session
from hvsim.xenstore.rules.transaction import Transaction
from hvsim.xenstore.rules.tree import Node


def existing(session: Session, path: bytes, needed: int, tx: Transaction | None) -> Node:
    """As ``Session.find``, for a node that must exist.  Raises Refused(ENOENT) as well."""
    node = session.find(path, needed, tx)
    if node is None:
        raise Refused(ENOENT)
    return node


def read(session: Session, payload: bytes, tx: Transaction | None) -> bytes:
    path = session.canonical(node_name(payload))
    node = session.find(path, perm.READ, tx)
    if node is not None:
        return node.value
    if session.store.handshake is not None:
        session.store.handshake.missed(session, path)
    raise Refused(ENOENT)


def names(session: Session, path: bytes, tx: Transaction | None) -> tuple[bytes, int]:
    node = session.find(path, perm.READ, tx)
    if node is None:
        raise Refused(ENOENT)
    if tx is None:
        return node.children.listing(), node.children.generation
    names = tx.names(path)
    data = b"\0".join(names) + b"\0" if names else b""
    return data, tx.generation(node)


def directory(session: Session, payload: bytes, tx: Transaction | None) -> bytes:
    data, _ = names(session, session.canonical(node_name(payload)), tx)
    if len(data) > xs_wire.XENSTORE_PAYLOAD_MAX:
        raise Refused(E2BIG)
    return data


def directory_part(session: Session, payload: bytes, tx: Transaction | None) -> bytes:
    """``<generation>NUL`` and the names from an offset on; a further NUL behind the last."""
    name, offset_text = strings(payload, 2, 2)
    offset = number(offset_text)
    data, generation = names(session, session.canonical(name), tx)
    head = b"%d\0" % generation
    rest = data[offset:]
    room = xs_wire.XENSTORE_PAYLOAD_MAX - len(head) - 1
    if len(rest) <= room:
        return head + rest + b"\0"
    return head + rest[: rest.rindex(b"\0", 0, room) + 1]


def get_perms(session: Session, payload: bytes, tx: Transaction | None) -> bytes:
    path = session.canonical(node_name(payload))
    return perm.render(existing(session, path, perm.READ, tx).perms)
