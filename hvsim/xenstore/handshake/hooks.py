"""Between the store and its handshake monitor: connections become writers, transactions views.

``Store.handshake`` is one of these, or None.  The store's operations call it after what they did
(:meth:`Handshakes.check` before, in strict mode); ``handshake.concerns`` is asked first, and that
is all that other paths cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from hvsim.abi.hypercall import HVSIM_OP_note, HYPERVISOR_hvsim_op
from hvsim.domain.hypercall import HypercallError
from hvsim.xenstore.handshake.monitor import NOBODY, Lookup, Monitor, Report, concerns
from hvsim.xenstore.handshake.rules import Writer

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain
    from hvsim.xenstore.rules.connection import Connection
    from hvsim.xenstore.rules.core import Store
    from hvsim.xenstore.rules.transaction import Transaction


def writer(connection: Connection) -> Writer:
    """Who *connection* speaks for: a kernel on its ring, or a program on the tools' socket."""
    domid = connection.domid
    ring = connection.name == f"d{domid}"
    kernel = "KERN0" if domid == 0 else f"domU{domid}"
    return Writer(
        connection.label or (kernel if ring or domid else connection.name),
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
        store.handshake = self

    def check(
        self, connection: Connection, path: bytes, value: bytes, tx: Transaction | None
    ) -> None:
        """Before a write.  Raises Refused(EPERM) in strict mode for a breach."""
        if self.strict and path.endswith(b"/state"):
            view = self._value if tx is None else self._inside(tx, path[: -len(b"state")])
            self.monitor.check(writer(connection), path, value, view)

    def wrote(self, connection: Connection, path: bytes) -> None:
        """After a write outside of a transaction, to a path that ``handshake.concerns`` us."""
        self.monitor.wrote(writer(connection), (path,))

    def committed(self, connection: Connection, paths: Iterable[bytes]) -> None:
        """After the commit of a transaction that changed *paths*."""
        nodes = self._store.tree.nodes
        ours = [path for path in paths if concerns(path) or path not in nodes]
        if ours:
            self.monitor.wrote(writer(connection), ours)

    def removed(self, connection: Connection | None, path: bytes) -> None:
        """After a removal; None: the store took away what a dead domain had owned."""
        self.monitor.wrote(NOBODY if connection is None else writer(connection), (path,))

    def missed(self, connection: Connection, path: bytes) -> None:
        """After a read that found no node."""
        if concerns(path):
            self.monitor.missed(writer(connection), path)

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


def watch_handshakes(dom: Domain, store: Store, mode: str) -> None:
    """Put a monitor on the *store* of the daemon *dom*; *mode* is one of ``handshake.MODES``.

    Breaches go to the hypervisor's ledger (and so to ``hvsim events`` and ``xl dmesg``) as
    ``store.handshake``.
    """

    def report(domid: int, text: str) -> None:
        try:
            dom.hypercall.call(HYPERVISOR_hvsim_op, HVSIM_OP_note, "store.handshake", domid, text)
        except HypercallError as error:
            dom.log(f"xenstored: {text} (not in the ledger: {error})")

    Handshakes(store, dom.vcpu.now, mode == "strict", report)
