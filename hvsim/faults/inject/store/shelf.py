"""What a rule keeps for later, where it outlives the process of the store: in the store itself."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from hvsim.abi.xs_wire import XS_RM, XS_WRITE
from hvsim.faults.inject.store.who import acting
from hvsim.xenstore.operations.table import OPERATIONS
from hvsim.xenstore.rules.errors import Refused

if TYPE_CHECKING:
    from hvsim.xenstore.rules.store import Store

ROOT = b"/tool/hvsim/held"


class Shelf:
    """Values under a rule's number.  dom0 may read them, and nobody else."""

    def __init__(self, store: Store, rule: int) -> None:
        self._store = store
        self._path = b"%s/%d" % (ROOT, rule)

    def put(self, name: bytes, value: bytes) -> None:
        """Keep *value*."""
        self._do(XS_WRITE, b"%s/%s\0%s" % (self._path, name, value))

    def drop(self, name: bytes) -> None:
        """Keep it no longer."""
        self._do(XS_RM, b"%s/%s\0" % (self._path, name))

    def all(self) -> dict[bytes, bytes]:
        """Everything, the oldest first."""
        nodes = self._store.tree.nodes
        here = nodes.get(self._path)
        names = () if here is None else tuple(here.children.names)
        return {name: nodes[b"%s/%s" % (self._path, name)].value for name in names}

    def clear(self) -> None:
        """Keep nothing, and leave nothing: of who is the last one the root as well."""
        nodes = self._store.tree.nodes
        if self._path in nodes:
            self._do(XS_RM, self._path + b"\0")
            if not nodes[ROOT].children.names:
                self._do(XS_RM, ROOT.rpartition(b"/")[0] + b"\0")

    def _do(self, type: int, payload: bytes) -> None:
        # Who takes it away by hand must not make a client's request fail.
        with acting(self._store, 0) as session, contextlib.suppress(Refused):
            OPERATIONS[type](session, payload, None)
