"""What a backend has attached of one frontend: rings and pages that it maps, ports that it binds.

The other half of it is `share.Share`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hvsim.domain.ring import BackRing
from hvsim.drivers.split.held import Held

if TYPE_CHECKING:
    from hvsim.domain import Domain, Mapping


class Attachment:
    """To frontend domain `peer`; empty at first.

    Attributes:
        peer: domid of the frontend.
    """

    def __init__(self, dom: Domain, peer: int) -> None:
        self.peer = peer
        self._dom = dom
        self._held = Held(dom)
        self._maps: list[Mapping] = []

    def ring(self, refs: Sequence[int], request_bytes: int, response_bytes: int) -> BackRing:
        """The backend's half of the ring in those pages.  Raises: GrantError."""
        mapping = self._dom.mapper.map_contiguous(self.peer, list(refs))
        self._maps.append(mapping)
        # Where the answers stand: 0 on a fresh ring; not so when a new backend was put under a
        # living frontend.  A value that makes no sense is found at the first look.
        with mapping.view[8:12].cast("I") as answered:
            start = answered[0]
        ring = BackRing(mapping.view, request_bytes, response_bytes, start=start)
        self._held.view(ring.release)
        return ring

    def bind_port(self, port: int, handler: Callable[[], None]) -> int:
        """The local end of the frontend's event channel `port`.  Raises: HypercallError."""
        return self._held.port(self._dom.events.bind_interdomain(self.peer, port, handler))

    def before_end(self, release: Callable[[], None]) -> None:
        """Call *release* when the attachment ends, before the rings are unmapped."""
        self._held.view(release)

    def close(self) -> None:
        """Unbind and unmap everything.  Idempotent."""
        self._held.close()
        maps, self._maps = self._maps, []
        for mapping in maps:
            mapping.unmap()
