"""A missing index bound: how far a frontend says that it has come is believed.

The backend does again what has lain in the slots from earlier, as many requests as it is told.
"""

from __future__ import annotations

from collections.abc import Callable

from hvsim.abi.ring import INDEX_MASK
from hvsim.domain import ring
from hvsim.domain.injection import Fault
from hvsim.drivers.split import attach
from hvsim.faults.inject.swap import swap


class Believing(ring.PyBackRing):
    """A ring of a backend that checks nothing."""

    def _ahead(self) -> int:
        return (self._index[0] - self._cons) & INDEX_MASK


def plant(_fault: Fault) -> Callable[[], None]:
    """In a storage domain, before a frontend connects."""
    return swap((attach, "BackRing", Believing))
