"""How much of the store one domain may use.  Dom0 may use any amount.

Defaults and texts of ``xenstore-control quota`` of C xenstored 4.17.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from hvsim.abi.errno import ENOMEM, ENOSPC
from hvsim.xenstore.errors import Refused
from hvsim.xenstore.permissions import PRIVILEGED_DOMID

NODE_HEADER: Final = 24
"""``sizeof(struct xs_tdb_record_hdr)``: counted in the size of a node."""
PERMISSION_SIZE: Final = 8

_TEXTS: Final = {
    "nodes": "Nodes per domain",
    "watches": "Watches per domain",
    "transactions": "Transactions per domain",
    "outstanding": "Outstanding requests per domain",
    "transaction_nodes": "Max. number of accessed nodes per transaction",
    "memory": "Total Xenstore memory per domain (error level)",
    "node_size": "Max. size of a node",
    "path_max": "Max. length of a node path",
    "permissions": "Max. number of permissions per node",
}


@dataclass
class Limits:
    """The limits, equal for all domains; bytes or numbers of things."""

    nodes: int = 1000
    watches: int = 128
    transactions: int = 10
    outstanding: int = 20
    transaction_nodes: int = 1024
    memory: int = 2621440
    node_size: int = 2048
    path_max: int = 2048
    permissions: int = 5

    def text(self) -> str:
        """As ``xenstore-control quota`` prints it."""
        lines = ["Quota settings:"]
        for field in fields(self):
            name = field.name.replace("_", "-")
            lines.append(f"{name:<17}: {getattr(self, field.name):8d} {_TEXTS[field.name]}")
        return "\n".join(lines) + "\n"

    def set(self, name: str, value: int) -> bool:
        """Change limit *name*; False when there is none of that name."""
        attribute = name.replace("-", "_")
        if attribute not in _TEXTS or "_" in name:
            return False
        setattr(self, attribute, value)
        return True


class Account:
    """What one domain uses: nodes it owns and their bytes, watches, transactions."""

    __slots__ = ("memory", "nodes", "transactions", "watches")

    def __init__(self) -> None:
        self.nodes = 0
        self.memory = 0
        self.watches = 0
        self.transactions = 0

    def text(self, domid: int, outstanding: int) -> str:
        """As ``xenstore-control quota <domid>`` prints it."""
        rows = (
            ("nodes", self.nodes),
            ("watches", self.watches),
            ("transactions", self.transactions),
            ("outstanding", outstanding),
            ("memory", self.memory),
        )
        lines = [f"{name:<16}: {value:8d}" for name, value in rows]
        return "\n".join([f"Domain {domid}:", *lines]) + "\n"


def check_owner(account: Account, domid: int, nodes: int, memory: int, limits: Limits) -> None:
    """May *domid* come to own *nodes* and *memory* more?

    Raises: Refused(ENOSPC) over the number of nodes, Refused(ENOMEM) over the memory.
    """
    if domid == PRIVILEGED_DOMID:
        return
    if nodes > 0 and account.nodes + nodes > limits.nodes:
        raise Refused(ENOSPC)
    if memory > 0 and account.memory + memory > limits.memory:
        raise Refused(ENOMEM)


def node_size(nr_permissions: int, value: int, children: int) -> int:
    """Size of a node as the limit counts it; *children* is the length of the list of names, each
    with its NUL."""
    return NODE_HEADER + PERMISSION_SIZE * nr_permissions + value + children
