"""Between the store and its handshake monitor: sessions become writers, transactions views.

``Store.handshake`` is one of these, or None.  The store's operations call it after what they did
(:meth:`Handshakes.check` before, in strict mode); :attr:`Handshakes.concerns` is asked first, and
that is all that other paths cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from hvsim.xenstore.handshake.control import handshake
from hvsim.xenstore.handshake.monitor import NOBODY, Lookup, Monitor, Report
from hvsim.xenstore.handshake.places import concerns
from hvsim.xenstore.handshake.rules import Writer
from hvsim.xenstore.rules.observer import Observed
from hvsim.xenstore.rules.store import Store
from hvsim.xenstore.rules.transaction import Transaction


def writer(session: Observed) -> Writer:
    """Who *session* speaks for: a kernel on its ring, or a program on the tools' socket."""
    domid = session.domid
    ring = session.name == f"d{domid}"
    kernel = "KERN0" if domid == 0 else f"domU{domid}"
    return Writer(
        session.label or (kernel if ring or domid else session.name),
        domid,
        domid == 0 and not ring,
    )


class Handshakes:
    """The hooks of one store.

    Args:
        clock: monotonic seconds.
        report: see :class:`Monitor`.

    Attributes:
        strict: :meth:`check` has something to do.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        strict: bool = False,
        report: Report = lambda domid, text: None,
    ) -> None:
        self._store = store
        self.monitor = Monitor(clock, self._value, strict, report)
        self.monitor.adopt(store.tree.nodes)
        self.strict = strict
        self.concerns = concerns
        store.handshake = self
        store.commands[b"handshake"] = partial(handshake, self.monitor)

    def check(self, session: Observed, path: bytes, value: bytes, tx: Transaction | None) -> None:
        """Before a write.  Raises Refused(EPERM) in strict mode for a breach."""
        if self.strict and path.endswith(b"/state"):
            view = self._value if tx is None else self._inside(tx, path[: -len(b"state")])
            self.monitor.check(writer(session), path, value, view)

    def wrote(self, session: Observed, path: bytes) -> None:
        """After a write outside of a transaction, to a path that ``handshake.concerns`` us."""
        self.monitor.wrote(writer(session), (path,))

    def committed(self, session: Observed, paths: Iterable[bytes]) -> None:
        """After the commit of a transaction that changed *paths*."""
        nodes = self._store.tree.nodes
        ours = [path for path in paths if concerns(path) or path not in nodes]
        if ours:
            self.monitor.wrote(writer(session), ours)

    def removed(self, session: Observed | None, path: bytes) -> None:
        """After a removal; None: the store took away what a dead domain had owned."""
        self.monitor.wrote(NOBODY if session is None else writer(session), (path,))

    def missed(self, session: Observed, path: bytes) -> None:
        """After a read that found no node."""
        if concerns(path):
            self.monitor.missed(writer(session), path)

    def _value(self, path: bytes) -> bytes | None:
        node = self._store.tree.nodes.get(path)
        return None if node is None else node.value

    def _inside(self, tx: Transaction, directory: bytes) -> Lookup:
        """What a writer of *directory* sees there; beside it, what is committed, so that a check
        does not make the transaction depend on the other half."""

        def view(path: bytes) -> bytes | None:
            if not path.startswith(directory):
                return self._value(path)
            node = tx.get(path)
            return None if node is None else node.value

        return view
