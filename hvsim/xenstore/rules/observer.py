"""Who is told of what happens to nodes, beside those that watch them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from hvsim.xenstore.rules.transaction import Transaction


class Observed(Protocol):
    """Who did something: a session.

    Attributes:
        domid: for whom it speaks.
        name, label: what it is called in the trace.
    """

    domid: int
    name: str
    label: str


class Observer(Protocol):
    """``Store.handshake``: the monitor of device handshakes.

    Attributes:
        strict: :meth:`check` has something to do.
    """

    strict: bool

    def concerns(self, path: bytes) -> object:
        """Whether a path may be one of a device: the one look that every other path costs."""

    def check(self, session: Observed, path: bytes, value: bytes, tx: Transaction | None) -> None:
        """Before a write.  Raises Refused(EPERM) for one that breaks a rule."""

    def wrote(self, session: Observed, path: bytes) -> None:
        """After a write outside of a transaction, to a path that it is concerned with."""

    def committed(self, session: Observed, paths: Iterable[bytes]) -> None:
        """After the commit of a transaction that changed *paths*."""

    def removed(self, session: Observed | None, path: bytes) -> None:
        """After a removal; None: the store took away what a dead domain had owned."""

    def missed(self, session: Observed, path: bytes) -> None:
        """After a read that found no node."""
