"""A session: one client of the store, apart from the bytes that it comes in.

Whose rights it has, which watches and transactions are its own, and what they cost.  A ring's
session is *durable*: with the journal it outlives the daemon.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hvsim.abi.errno import EACCES
from hvsim.xenstore.rules import paths
from hvsim.xenstore.rules import permissions as perm
from hvsim.xenstore.rules.errors import Refused
from hvsim.xenstore.rules.quota import watch_cost
from hvsim.xenstore.rules.store import Store
from hvsim.xenstore.rules.transaction import Transaction
from hvsim.xenstore.rules.tree import Node
from hvsim.xenstore.rules.watches import Outlet, Watch

_PATHS_MAX: Final = 512
"""Paths of which the canonical form is remembered."""


class Session:
    """A client of the store.

    Args:
        domid: for whom it speaks.
        name: stable name for the trace, e.g. ``d1`` or ``s3``.
        label: who it is, as it says itself; "" when it does not.
        durable: it outlives the daemon.

    Attributes:
        target: domid that it may act for as well, -1 for none.
        home: what its relative paths are relative to.
        outlet: where its events go.
        known: canonical forms of paths, remembered.
        after_reply: events that stand behind the reply to the request being carried out.
    """

    def __init__(
        self, store: Store, domid: int, name: str, label: str = "", durable: bool = False
    ) -> None:
        self.store = store
        self.domid = domid
        domain = store.domains.get(domid)
        self.target = -1 if domain is None else domain.target
        self.home = paths.home(domid)
        self.name = name
        self.label = label
        self.durable = durable
        self.outlet: Outlet = _NOWHERE
        self.watches: dict[tuple[bytes, bytes], Watch] = {}
        self.transactions: dict[int, Transaction] = {}
        self.after_reply: list[bytes] = []
        self._next_tx = 0
        self.known: dict[bytes, bytes] = {}
        store.sessions[self] = None

    # -- nodes -----------------------------------------------------------------------------------

    def canonical(self, path: bytes) -> bytes:
        """Absolute path of *path*.  Raises Refused(EINVAL)."""
        known = self.known
        found = known.get(path)
        if found is None:
            found = paths.canonical(path, self.home, self.store.limits.path_max)
            if len(known) >= _PATHS_MAX:
                known.clear()
            known[path] = found
        return found

    def find(self, path: bytes, needed: int, tx: Transaction | None) -> Node | None:
        """The node at *path*, on which the session has every right of *needed*; None when there is
        none.

        Raises: Refused(EACCES) without the right; also when there is no node and the session has no
            such right on the closest parent either, so that nobody learns what exists where they
            may not look.
        """
        tree = self.store.tree
        node = tree.nodes.get(path) if tx is None else tx.get(path)
        domid = self.domid
        if domid == perm.PRIVILEGED_DOMID:
            return node
        if node is not None:
            if perm.access(node.perms, domid, self.target) & needed != needed:
                raise Refused(EACCES)
            return node
        above = (tree if tx is None else tx).nearest(path) if path != b"/" else None
        if above is None or not perm.access(above.perms, domid, self.target) & needed:
            raise Refused(EACCES)
        return None

    # -- watches ---------------------------------------------------------------------------------

    def add_watch(self, path: bytes, prefix: int, token: bytes) -> Watch:
        """Register a watch, which is new, and charge for it."""
        watch = self.store.watches.add(self, path, prefix, token)
        self.watches[path, token] = watch
        account = self.store.tree.account(self.domid)
        account.watches += 1
        account.memory += watch_cost(path, token)
        return watch

    def remove_watch(self, path: bytes, token: bytes) -> bool:
        """Take a watch away; False when there is none."""
        watch = self.watches.pop((path, token), None)
        if watch is None:
            return False
        self.store.watches.remove(watch)
        account = self.store.tree.account(self.domid)
        account.watches -= 1
        account.memory -= watch_cost(path, token)
        return True

    # -- transactions ----------------------------------------------------------------------------

    def begin(self, limit: int | None) -> int:
        """Open a transaction that may access *limit* nodes (None: any number); returns its id,
        which no other open one of this session has and which is never 0."""
        while True:
            self._next_tx = (self._next_tx + 1) & 0xFFFFFFFF
            if self._next_tx and self._next_tx not in self.transactions:
                break
        self.transactions[self._next_tx] = Transaction(self.store.tree, limit)
        self.store.tree.account(self.domid).transactions += 1
        return self._next_tx

    def drop(self, tx: Transaction) -> None:
        """Forget an open transaction."""
        for number, open_tx in self.transactions.items():
            if open_tx is tx:
                del self.transactions[number]
                account = self.store.tree.account(self.domid)
                account.transactions -= 1
                account.memory -= tx.memory
                return

    def adopt(self, numbers: Iterable[int]) -> None:
        """Have the transactions that were open with a former daemon: they end in EAGAIN."""
        for number in numbers:
            tx = self.transactions[number] = Transaction(self.store.tree, None)
            tx.doomed = True
            self.store.tree.account(self.domid).transactions += 1

    def doomed(self, number: int) -> bool:
        """Whether transaction *number* can only end in EAGAIN."""
        tx = self.transactions.get(number)
        return tx is not None and tx.doomed

    # -- its end ---------------------------------------------------------------------------------

    def reset(self) -> None:
        """Drop every watch and transaction."""
        for path, token in list(self.watches):
            self.remove_watch(path, token)
        account = self.store.tree.account(self.domid)
        account.memory -= sum(tx.memory for tx in self.transactions.values())
        account.transactions -= len(self.transactions)
        self.transactions.clear()
        self.after_reply.clear()

    def close(self) -> None:
        """The client, or its domain, has gone.  Idempotent."""
        if self in self.store.sessions:
            del self.store.sessions[self]
            self.reset()
            outlet, self.outlet = self.outlet, _NOWHERE
            outlet.closed()


class _Nowhere:
    """The outlet of a session without a connection."""

    outstanding = 0

    def send_event(self, payload: bytes) -> None:
        """Nobody hears it."""

    def closed(self) -> None:
        """Nobody cares."""


_NOWHERE: Final = _Nowhere()
