"""What a backend has attached of one frontend: rings and pages that it maps, ports that it binds.

The other half of it is `share.Share`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hvsim.domain.ring import BackRing
from hvsim.domain.seams import PORT

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
        self._ports: list[int] = []
        self._views: list[Callable[[], None]] = []
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
        self._views.append(ring.release)
        return ring

    def bind_port(self, port: int, handler: Callable[[], None]) -> int:
        """The local end of the frontend's event channel `port`.  Raises: HypercallError."""
        bound = self._dom.events.bind_interdomain(self.peer, port, handler)
        self._ports.append(bound)
        return bound

    def before_end(self, release: Callable[[], None]) -> None:
        """Call *release* when the attachment ends, before the rings are unmapped."""
        self._views.append(release)

    def close(self) -> None:
        """Unbind and unmap everything.  Idempotent."""
        ports, self._ports = self._ports, []
        for port in ports:
            self._dom.seams.let_go(PORT, port)
            self._dom.events.close(port)
        views, self._views = self._views, []
        for release in views:
            release()
        maps, self._maps = self._maps, []
        for mapping in maps:
            mapping.unmap()
