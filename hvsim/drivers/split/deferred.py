"""Grants that a peer still maps when they are to end: kept, and tried again until it lets go.

A frame that a peer can still reach must not be used for anything else (XSA-396), so its extent is
freed later; Linux does the same (``gnttab_add_deferred``).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from hvsim.domain.hypercall import HypercallError

if TYPE_CHECKING:
    from hvsim.domain import Domain
    from hvsim.domain.memory import Extent

RETRY_FIRST: Final = 0.05
RETRY_LAST: Final = 10.0
"""Seconds until the next try: twice as many each time, up to the last."""


class DeferredGrants:
    """Extents whose grants the peer has not let go of yet; freed when it has."""

    def __init__(self, dom: Domain) -> None:
        self._dom = dom
        self._kept: list[tuple[Extent, list[int]]] = []
        self._delay = RETRY_FIRST
        self._armed = False

    @property
    def nr_pages(self) -> int:
        """Pages that cannot be freed yet."""
        return sum(extent.nr_pages for extent, _ in self._kept)

    def end(self, extent: Extent, refs: list[int]) -> None:
        """End the grants `refs` and free `extent`, now or as soon as the peer allows."""
        self._kept.append((extent, refs))
        self._delay = RETRY_FIRST
        self._try()

    def _retry(self) -> None:
        self._armed = False
        self._delay = min(self._delay * 2, RETRY_LAST)
        self._try()

    def _try(self) -> None:
        kept = []
        for extent, refs in self._kept:
            held = self._dom.grants.end_access_many(refs) if refs else []
            if not held:
                try:
                    self._dom.memory.free(extent)
                    continue
                except HypercallError as error:
                    if error.errno != errno.EBUSY:
                        raise
            kept.append((extent, held))
        self._kept = kept
        if kept and not self._armed:
            self._armed = True
            self._dom.vcpu.call_later(self._delay, self._retry)
