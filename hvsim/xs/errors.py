"""How the store fails a request: one class for each thing that a caller tells apart."""

from __future__ import annotations

from hvsim.abi import errno as xen_errno
from hvsim.errors import ClosedByPeer, Refused


class StoreError(Refused):
    """The store refused a request.

    Attributes:
        errno: positive Xen error number.
        op: name of the request (``"READ"``).
        path: the node (or other first argument) that was asked for.
    """

    def __init__(self, number: int, op: str, path: str) -> None:
        super().__init__(number, f"store {op} {path}: {xen_errno.name(number)}")
        self.op = op
        self.path = path


class StoreNotFound(StoreError):
    """ENOENT: there is no such node (or domain)."""


class StoreDisconnected(StoreError, ClosedByPeer):
    """EIO: the store has gone, or closed this connection."""


def store_error(number: int, op: str, path: str) -> StoreError:
    """The StoreError of the class that belongs to *number*."""
    return (StoreNotFound if number == xen_errno.ENOENT else StoreError)(number, op, path)
