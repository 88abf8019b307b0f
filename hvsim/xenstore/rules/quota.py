"""How much of the store one domain may use.  Dom0 may use any amount.

Defaults and texts of ``xenstore-control quota`` of C xenstored 4.17.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final, Self

from hvsim.abi import xs_wire
from hvsim.abi.errno import ENOMEM, ENOSPC
from hvsim.xenstore.rules.errors import Refused
from hvsim.xenstore.rules.permissions import PRIVILEGED_DOMID

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
_SOFT_TEXT: Final = "Total Xenstore memory per domain (warning level)"

VALUE_MAX: Final = 2**31 - 1
WATCH_COST: Final = 64
"""Bytes that a watch costs beside its path and token."""


@dataclass
class Limits:
    """The limits, equal for all domains; bytes or numbers of things.

    ``memory_soft`` refuses nothing; a domain that passes it is reported.
    """

    nodes: int = 1000
    watches: int = 128
    transactions: int = 10
    outstanding: int = 20
    transaction_nodes: int = 1024
    memory: int = 2621440
    node_size: int = 2048
    path_max: int = 2048
    permissions: int = 5
    memory_soft: int = 2097152

    def text(self) -> str:
        """As ``xenstore-control quota`` prints it."""
        lines = ["Quota settings:"]
        for field in fields(self):
            if field.name in _TEXTS:
                name = field.name.replace("_", "-")
                lines.append(f"{name:<17}: {getattr(self, field.name):8d} {_TEXTS[field.name]}")
        return "\n".join(lines) + "\n"

    def soft_text(self) -> str:
        """As ``xenstore-control quota-soft`` prints it."""
        return f"Quota settings:\n{'memory':<17}: {self.memory_soft:8d} {_SOFT_TEXT}\n"

    def set(self, name: str, value: int) -> bool:
        """Change limit *name*; False when there is none of that name, or no such value."""
        attribute = name.replace("-", "_")
        if attribute not in _TEXTS or "_" in name or not 1 <= value <= VALUE_MAX:
            return False
        if attribute == "path_max":
            value = min(value, xs_wire.XENSTORE_REL_PATH_MAX)
        setattr(self, attribute, value)
        return True

    @classmethod
    def parse(cls, values: Mapping[str, int]) -> Self:
        """Defaults but for *values*, named as ``control quota`` does.  Raises ValueError."""
        limits = cls()
        for name, value in values.items():
            if not limits.set(name, value):
                raise ValueError(f"store quota {name} = {value}")
        return limits

    def value(self, name: str) -> int:
        """The limit as ``control quota`` spells its name.  Raises KeyError for another."""
        attribute = name.replace("-", "_")
        if attribute not in _TEXTS:
            raise KeyError(name)
        number: int = getattr(self, attribute)
        return number

    @staticmethod
    def names() -> list[str]:
        """The names of the limits."""
        return [name.replace("_", "-") for name in _TEXTS]


class Account:
    """What one domain uses: nodes it owns and their bytes, watches, transactions."""

    __slots__ = ("memory", "nodes", "transactions", "watches")

    def __init__(self) -> None:
        self.nodes = 0
        self.memory = 0
        self.watches = 0
        self.transactions = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Account) and str(self) == str(other)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __str__(self) -> str:
        return (
            f"{self.nodes} nodes, {self.memory} bytes, {self.watches} watches, "
            f"{self.transactions} transactions"
        )

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


def check_owner(account: Account, domid: int, nodes: int, memory: int, limits: Limits) -> bool:
    """May *domid* come to own *nodes* and *memory* more?

    Returns whether this takes it over ``memory_soft``.
    Raises: Refused(ENOSPC) over the number of nodes, Refused(ENOMEM) over the memory.
    """
    if domid == PRIVILEGED_DOMID:
        return False
    if nodes > 0 and account.nodes + nodes > limits.nodes:
        raise Refused(ENOSPC, "nodes", domid)
    if memory > 0 and account.memory + memory > limits.memory:
        raise Refused(ENOMEM, "memory", domid)
    return account.memory <= limits.memory_soft < account.memory + memory


def node_size(nr_permissions: int, value: int, children: int) -> int:
    """Size of a node as the limit counts it; *children* is the length of the list of names, each
    with its NUL."""
    return NODE_HEADER + PERMISSION_SIZE * nr_permissions + value + children


def watch_cost(path: bytes, token: bytes) -> int:
    """Bytes that a watch costs the domain that has it."""
    return WATCH_COST + len(path) + len(token)
