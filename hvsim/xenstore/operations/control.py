"""XS_CONTROL: what ``xenstore-control`` can ask of the daemon.

Texts of C xenstored 4.17 (recordings 80, 87).  What is ours alone (``Store.commands``) is
not in that daemon's help.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from hvsim.abi.errno import EINVAL, ENOENT
from hvsim.xenstore.operations import live_update
from hvsim.xenstore.rules.errors import Refused
from hvsim.xenstore.rules.quota import VALUE_MAX, Account, watch_cost
from hvsim.xenstore.rules.store import Store
from hvsim.xenstore.rules.tree import node_cost

OK: Final = b"OK\0"
NO_TRACE: Final = b"this store keeps no trace; `trace = true` in the lab file makes it\0"
HELP: Final = (
    "check\t\n"
    "log\ton|off\n"
    "live-update\t[-c <cmdline>] [-F] [-t <timeout>] <file>\n"
    "    Default timeout is 60 seconds.\n"
    "logfile\t<file>\n"
    "memreport\t[<file>]\n"
    "print\t<string>\n"
    "quota\t[set <name> <val>|<domid>]\n"
    "quota-soft\t[set <name> <val>]\n"
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
        store.say(rest[0].decode("utf-8", "backslashreplace"))
        return OK
    if command == b"log" and rest in ([b"on"], [b"off"]) and store.switch_trace is not None:
        store.switch_trace(rest == [b"on"])
        return OK
    if command == b"logfile" and len(rest) == 1:
        return _logfile(store, rest[0])
    if command == b"memreport" and len(rest) <= 1:
        return _memreport(store, rest)
    if command == b"quota-soft":
        return _quota_soft(store, rest)
    if command == b"live-update":
        return live_update.control(store, rest)
    if command == b"quota":
        return _quota(store, rest)
    if command in store.commands:
        return store.commands[command](rest)
    raise Refused(EINVAL)


def check(store: Store) -> bytes:
    """Whether the store is consistent: every node has its parent, every child its node, and every
    account says what its domain has."""
    tree = store.tree
    if sum(1 for _ in tree.walk(b"/")) != len(tree.nodes):
        return b"the tree and the table of nodes differ\0"
    used: dict[int, Account] = {}
    for path, node in tree.nodes.items():
        account = used.setdefault(node.perms[0].domid, Account())
        account.nodes += 1
        account.memory += node_cost(path, len(node.value), len(node.perms))
    for session in store.sessions:
        account = used.setdefault(session.domid, Account())
        account.watches += len(session.watches)
        account.memory += sum(watch_cost(*key) for key in session.watches)
        account.transactions += len(session.transactions)
        account.memory += sum(tx.memory for tx in session.transactions.values())
    for domid in used.keys() | tree.accounts.keys():
        has, says = used.get(domid, Account()), tree.accounts.get(domid, Account())
        if has != says:
            return f"the account of domain {domid} says {says}, it has {has}".encode() + b"\0"
    return OK


def _logfile(store: Store, name: bytes) -> bytes:
    """The trace goes on in another file."""
    if store.trace_to is None:
        return NO_TRACE
    try:
        store.trace_to(os.fsdecode(name))
    except (OSError, ValueError) as error:
        raise Refused(getattr(error, "errno", None) or EINVAL) from None
    return OK


def _memreport(store: Store, rest: list[bytes]) -> bytes:
    """The report goes to the file, or to where ``print`` goes."""
    accounts = store.tree.accounts
    lines = [f"nodes {len(store.tree.nodes)} watches {len(store.watches)}"]
    lines += [f"domain {domid}: {account}" for domid, account in sorted(accounts.items())]
    text = "\n".join(lines) + "\n"
    if rest:
        try:
            Path(os.fsdecode(rest[0])).write_text(text, encoding="utf-8")
        except (OSError, ValueError) as error:
            raise Refused(getattr(error, "errno", None) or EINVAL) from None
    else:
        store.say(text)
    return OK


def _quota_soft(store: Store, rest: list[bytes]) -> bytes:
    if not rest:
        return store.limits.soft_text().encode() + b"\0"
    if rest[:2] != [b"set", b"memory"] or len(rest) != 3 or not rest[2].isdigit():
        raise Refused(EINVAL)
    store.limits.memory_soft = min(int(rest[2]), VALUE_MAX)
    return OK


def _quota(store: Store, rest: list[bytes]) -> bytes:
    if not rest:
        return store.limits.text().encode() + b"\0"
    if rest[0] == b"set":
        if len(rest) != 3 or not rest[2].isdigit() or len(rest[2]) > 10:
            raise Refused(EINVAL)
        if not store.limits.set(rest[1].decode("ascii", "replace"), int(rest[2])):
            raise Refused(EINVAL)
        return OK
    if len(rest) != 1 or not (rest[0] == b"max" or (rest[0].isdigit() and len(rest[0]) < 6)):
        raise Refused(EINVAL)
    domid = 0 if rest[0] == b"max" else int(rest[0])
    if domid not in store.domains:
        raise Refused(ENOENT)
    outstanding = sum(s.outlet.outstanding for s in store.sessions if s.domid == domid)
    return store.tree.account(domid).text(domid, outstanding).encode() + b"\0"
