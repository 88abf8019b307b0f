"""The requests about domains, and CONTROL: for dom0, but GET_DOMAIN_PATH."""

from __future__ import annotations

from hvsim.xenstore.operations import control as commands
from hvsim.xenstore.operations.arguments import OK, number, one, privileged, strings
from hvsim.xenstore.rules import paths
from hvsim.xenstore.rules.session import Session
from hvsim.xenstore.rules.transaction import Transaction


def introduce(session: Session, payload: bytes, tx: Transaction | None) -> bytes:
    privileged(session)
    domid, gfn, port = (number(part) for part in strings(payload, 3)[:3])
    session.store.introduce(domid, gfn, port)
    return OK


def release(session: Session, payload: bytes, tx: Transaction | None) -> bytes:
    privileged(session)
    session.store.release(number(one(payload)))
    return OK


def resume(session: Session, payload: bytes, tx: Transaction | None) -> bytes:
    privileged(session)
    session.store.resume(number(one(payload)))
    return OK


def set_target(session: Session, payload: bytes, tx: Transaction | None) -> bytes:
    privileged(session)
    domid, target = (number(part) for part in strings(payload, 2, 2))
    session.store.set_target(domid, target)
    return OK


def get_domain_path(session: Session, payload: bytes, tx: Transaction | None) -> bytes:
    return paths.home(number(one(payload))) + b"\0"


def is_introduced(session: Session, payload: bytes, tx: Transaction | None) -> bytes:
    privileged(session)
    domain = session.store.domains.get(number(one(payload)))
    return b"T\0" if domain is not None and domain.connected else b"F\0"


def control(session: Session, payload: bytes, tx: Transaction | None) -> bytes:
    privileged(session)
    session.store.administration += 1
    return commands.run(session.store, strings(payload, 1))
