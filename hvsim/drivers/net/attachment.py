"""What a netback has mapped of one frontend: the rings of its queues, its ports, its pages.

With ``feature-persistent`` a page stays mapped after its first use, in a bounded table; without,
pages are mapped for one frame and given back before it is answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hvsim.domain.ring import BackRing
from hvsim.drivers.net.protocol import (
    RX_REQUEST_BYTES,
    RX_RESPONSE_BYTES,
    TX_REQUEST_BYTES,
    TX_RESPONSE_BYTES,
)

if TYPE_CHECKING:
    from hvsim.domain import Domain, Mapping
    from hvsim.domain.mapper import GrantMapper

MAX_PAGES: Final = 1024
"""Pages of one queue that stay mapped: two rings' worth, twice."""


class GuestPages:
    """Pages of frontend `domid`.

    Attributes:
        persistent: whether the frontend said feature-persistent.
    """

    def __init__(self, mapper: GrantMapper, domid: int, *, persistent: bool) -> None:
        self.persistent = persistent
        self._mapper = mapper
        self._domid = domid
        self._pages: dict[int, Mapping] = {}
        self._views: dict[int, memoryview] = {}

    def __len__(self) -> int:
        return len(self._pages)

    @contextmanager
    def use(self, refs: Sequence[int], *, write: bool) -> Iterator[list[memoryview]]:
        """The bytes of the pages behind `refs`, in order, while the block runs.

        Raises: GrantError when one of them cannot be mapped; none of the new ones is kept then.
        """
        if self.persistent:
            yield self._known(refs)
            return
        unique = list(dict.fromkeys(refs))
        mappings = self._mapper.map_many(self._domid, unique, not write)
        try:
            views = {ref: page.view for ref, page in zip(unique, mappings, strict=True)}
            yield [views[ref] for ref in refs]
        finally:
            self._mapper.unmap_many(mappings)

    def _known(self, refs: Sequence[int]) -> list[memoryview]:
        known = self._views
        try:
            return [known[ref] for ref in refs]
        except KeyError:
            self._map(refs)
        return [known[ref] for ref in refs]

    def _map(self, refs: Sequence[int]) -> None:
        missing = [ref for ref in dict.fromkeys(refs) if ref not in self._pages]
        if len(self._pages) + len(missing) > MAX_PAGES:
            self.close()  # a guest that uses ever new pages pays for it with mapping
            missing = list(dict.fromkeys(refs))
        for ref, page in zip(
            missing, self._mapper.map_many(self._domid, missing, False), strict=True
        ):
            self._pages[ref] = page
            self._views[ref] = page.view

    def close(self) -> None:
        """Unmap everything.  Idempotent."""
        mappings = list(self._pages.values())
        self._pages.clear()
        self._views.clear()
        if mappings:
            self._mapper.unmap_many(mappings)


@dataclass(frozen=True, slots=True)
class QueueKeys:
    """What a frontend published of one queue: grant references, and its event channels."""

    tx_ref: int
    rx_ref: int
    tx_port: int
    rx_port: int

    @property
    def split(self) -> bool:
        """Whether it has two ports."""
        return self.tx_port != self.rx_port

    def __str__(self) -> str:
        """As netback names them when they cannot be had."""
        return f"shared-frames {self.tx_ref}/{self.rx_ref} port tx {self.tx_port} rx {self.rx_port}"


class Attachment:
    """One queue, mapped and bound: what connecting made and `close` undoes.

    Attributes:
        tx_ring, rx_ring: the backend's halves.
        tx_port, rx_port: local ports; the same one unless split.
    """

    def __init__(
        self,
        dom: Domain,
        domid: int,
        keys: QueueKeys,
        persistent: bool,
        tx_event: Callable[[], None],
        rx_event: Callable[[], None],
    ) -> None:
        """`rx_event` serves both directions of a frontend with one port for both.

        Raises: GrantError (the rings), HypercallError (the ports); nothing is kept then."""
        self._dom = dom
        self._ports: list[int] = []
        self._rings: list[BackRing] = []
        self._maps: list[Mapping] = []
        self.pages = GuestPages(dom.mapper, domid, persistent=persistent)
        try:
            self.tx_ring = self._ring(domid, keys.tx_ref, TX_REQUEST_BYTES, TX_RESPONSE_BYTES)
            self.rx_ring = self._ring(domid, keys.rx_ref, RX_REQUEST_BYTES, RX_RESPONSE_BYTES)
            self.rx_port = self._bind(domid, keys.rx_port, rx_event)
            self.tx_port = self._bind(domid, keys.tx_port, tx_event) if keys.split else self.rx_port
        except BaseException:
            self.close()
            raise

    def _ring(self, domid: int, ref: int, request: int, response: int) -> BackRing:
        mapping = self._dom.mapper.map_contiguous(domid, [ref])
        self._maps.append(mapping)
        # Where the answers stand: 0 on a fresh ring; not so when a new backend was put under a
        # living frontend.  A value that makes no sense is found at the first look.
        with mapping.view[8:12].cast("I") as answered:
            start = answered[0]
        ring = BackRing(mapping.view, request, response, start=start)
        self._rings.append(ring)
        return ring

    def _bind(self, domid: int, port: int, handler: Callable[[], None]) -> int:
        bound = self._dom.events.bind_interdomain(domid, port, handler)
        self._ports.append(bound)
        return bound

    def close(self) -> None:
        """Unbind and unmap everything."""
        for port in self._ports:
            self._dom.events.close(port)
        for ring in self._rings:
            ring.release()
        self.pages.close()
        for mapping in self._maps:
            mapping.unmap()
        self._ports, self._rings, self._maps = [], [], []
