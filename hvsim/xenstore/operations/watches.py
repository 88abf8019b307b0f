"""The requests about watches: WATCH, UNWATCH, RESET_WATCHES."""

from __future__ import annotations

from hvsim.abi import xs_wire
from hvsim.abi.errno import E2BIG, EEXIST, EINVAL, ENOENT
from hvsim.xenstore.operations.arguments import OK, strings
from hvsim.xenstore.rules import quota
from hvsim.xenstore.rules.errors import Refused
from hvsim.xenstore.rules.quota import watch_cost
from hvsim.xenstore.rules.session import Session
from hvsim.xenstore.rules.transaction import Transaction


def _watch_path(session: Session, path: bytes) -> tuple[bytes, int]:
    """Absolute path of a watch, and the bytes to leave out of its events."""
    if path[:1] == b"@":
        if len(path) > xs_wire.XENSTORE_REL_PATH_MAX:
            raise Refused(EINVAL)
        return path, 0
    prefix = 0 if path[:1] == b"/" else len(session.home) + 1
    return session.canonical(path), prefix


def watch(session: Session, payload: bytes, tx: Transaction | None) -> bytes:
    name, token = strings(payload, 2, 2)
    path, prefix = _watch_path(session, name)
    if (path, token) in session.watches:
        raise Refused(EEXIST)
    store = session.store
    account = store.tree.account(session.domid)
    if session.domid and account.watches >= store.limits.watches:
        raise Refused(E2BIG, "watches")
    quota.check_owner(account, session.domid, 0, watch_cost(path, token), store.limits)
    watch = session.add_watch(path, prefix, token)
    # The event stands behind the reply.
    session.after_reply.append(watch.event(path))
    return OK


def unwatch(session: Session, payload: bytes, tx: Transaction | None) -> bytes:
    name, token = strings(payload, 2, 2)
    path, _ = _watch_path(session, name)
    if not session.remove_watch(path, token):
        raise Refused(ENOENT)
    return OK


def reset_watches(session: Session, payload: bytes, tx: Transaction | None) -> bytes:
    session.reset()
    return OK
