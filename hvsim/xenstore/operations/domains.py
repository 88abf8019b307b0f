"""The requests about domains, and CONTROL: for dom0, but GET_DOMAIN_PATH."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hvsim.xenstore.operations import control as commands
from hvsim.xenstore.operations.arguments import OK, number, one, privileged, strings
from hvsim.xenstore.rules import paths
from hvsim.xenstore.rules.transaction import Transaction

if TYPE_CHECKING:
    from hvsim.xenstore.rules.connection import Connection


def introduce(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    privileged(connection)
    domid, gfn, port = (number(part) for part in strings(payload, 3)[:3])
    connection.store.introduce(domid, gfn, port)
    return OK


def release(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    privileged(connection)
    connection.store.release(number(one(payload)))
    return OK


def resume(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    privileged(connection)
    connection.store.resume(number(one(payload)))
    return OK


def set_target(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    privileged(connection)
    domid, target = (number(part) for part in strings(payload, 2, 2))
    connection.store.set_target(domid, target)
    return OK


def get_domain_path(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    return paths.home(number(one(payload))) + b"\0"


def is_introduced(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    privileged(connection)
    domain = connection.store.domains.get(number(one(payload)))
    return b"T\0" if domain is not None and domain.connected else b"F\0"


def control(connection: Connection, payload: bytes, tx: Transaction | None) -> bytes:
    privileged(connection)
    connection.store.administration += 1
    return commands.run(connection.store, strings(payload, 1))
