"""What stands between the store and its clients: nothing, as long as nobody breaks anything."""

from __future__ import annotations

from hvsim.domain.seams import STORE_EVENTS, STORE_OPERATIONS, Seams
from hvsim.xenstore.operations.table import OPERATIONS
from hvsim.xenstore.rules.store import Store
from hvsim.xenstore.rules.watches import send


class Between:
    """Passes the operations and the events of *store* through the seams of its process, now and
    whenever something comes to stand there, or goes."""

    def __init__(self, seams: Seams, store: Store) -> None:
        self._seams = seams
        self._store = store
        for seam in (STORE_OPERATIONS, STORE_EVENTS):
            seams.follow(seam, self._changed)
        self._changed()

    def close(self) -> None:
        """Follow them no more."""
        for seam in (STORE_OPERATIONS, STORE_EVENTS):
            self._seams.unfollow(seam, self._changed)

    def _changed(self) -> None:
        store = self._store
        operations = self._seams.through(STORE_OPERATIONS, OPERATIONS, store)
        store.operations = None if operations is OPERATIONS else operations
        store.deliver = self._seams.through(STORE_EVENTS, send, store)
