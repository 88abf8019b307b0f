"""XS_CONTROL: what ``xenstore-control`` can ask of the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hvsim.abi.errno import EINVAL, ENOENT
from hvsim.xenstore.errors import Refused

if TYPE_CHECKING:
    from hvsim.xenstore.core import Store

OK: Final = b"OK\0"
HELP: Final = (
    "check\t\n"
    "log\ton|off\n"
    "memreport\t[<file>]\n"
    "print\t<string>\n"
    "quota\t[set <name> <val>|<domid>]\n"
    "help\t\n"
)


def run(store: Store, arguments: list[bytes]) -> bytes:
    """Carry out one command.  Raises Refused: EINVAL for an unknown one, or wrong arguments."""
    command, rest = arguments[0], arguments[1:]
    if command == b"help" and not rest:
        return HELP.encode() + b"\0"
    if command == b"check" and not rest:
        return check(store)
    if command == b"print" and len(rest) == 1:
        return OK
    if command == b"log" and rest in ([b"on"], [b"off"]):
        return OK
    if command == b"memreport" and not rest:
        return _memreport(store)
    if command == b"quota":
        return _quota(store, rest)
    raise Refused(EINVAL)


def check(store: Store) -> bytes:
    """Whether the tree is consistent: every node has its parent, every child its node."""
    nodes = store.tree.nodes
    if sum(1 for _ in store.tree.walk(b"/")) != len(nodes):
        return b"the tree and the table of nodes differ\0"
    return OK


def _memreport(store: Store) -> bytes:
    accounts = store.tree.accounts
    lines = [f"nodes {len(store.tree.nodes)} watches {len(store.watches)}"]
    lines += [
        f"domain {domid}: {account.nodes} nodes, {account.memory} bytes, "
        f"{account.watches} watches, {account.transactions} transactions"
        for domid, account in sorted(accounts.items())
    ]
    return "\n".join(lines).encode()[:4000] + b"\n\0"


def _quota(store: Store, rest: list[bytes]) -> bytes:
    if not rest:
        return store.limits.text().encode() + b"\0"
    if rest[0] == b"set":
        if len(rest) != 3 or not rest[2].isdigit():
            raise Refused(EINVAL)
        if not store.limits.set(rest[1].decode("ascii", "replace"), int(rest[2])):
            raise Refused(EINVAL)
        return OK
    if len(rest) != 1 or not (rest[0].isdigit() or rest[0] == b"max"):
        raise Refused(EINVAL)
    domid = 0 if rest[0] == b"max" else int(rest[0])
    if domid not in store.domains:
        raise Refused(ENOENT)
    return store.tree.account(domid).text(domid, 0).encode() + b"\0"
