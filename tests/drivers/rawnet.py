"""Both halves of a vif without a driver: rings written and read word by word.

For hostile peers, who are polite to nobody: `RawFront` publishes whatever rings and keys a test
wants and puts raw slots into them, `RawBack` takes what a frontend published and answers with raw
bytes. Layouts are written out here from xen/io/netif.h, not taken from the drivers' own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain
    from hvsim.domain.mapper import Mapping
    from hvsim.domain.memory import Extent

PAGE = 4096
RING_BYTES = 64
"""Where the slots of a ring begin."""
SLOTS = 256
TX_SLOT, RX_SLOT, CTRL_SLOT = 12, 8, 16

TX_CSUM_BLANK, TX_VALIDATED, TX_MORE, TX_EXTRA = 1, 2, 4, 8
RX_VALIDATED, RX_CSUM_BLANK, RX_MORE, RX_EXTRA, RX_GSO_PREFIX = 1, 2, 4, 8, 16
EXTRA_GSO, EXTRA_MCAST_ADD, EXTRA_MCAST_DEL, EXTRA_HASH = 1, 2, 3, 4
EXTRA_MORE = 1
OKAY, ERROR, DROPPED, NULL = 0, -1, -2, 1

REQ_PROD, REQ_EVENT, RSP_PROD, RSP_EVENT = range(4)


def tx_request(ref: int, offset: int, flags: int, ident: int, size: int) -> bytes:
    """struct netif_tx_request."""
    return struct.pack(
        "<IHHHH", ref & 0xFFFFFFFF, offset & 0xFFFF, flags & 0xFFFF, ident & 0xFFFF, size & 0xFFFF
    )


def rx_response(ident: int, offset: int, flags: int, status: int) -> bytes:
    """struct netif_rx_response."""
    return struct.pack("<HHHh", ident & 0xFFFF, offset & 0xFFFF, flags & 0xFFFF, status)


def tx_response(ident: int, status: int) -> bytes:
    """struct netif_tx_response."""
    return struct.pack("<Hh", ident & 0xFFFF, status)


def extra_gso(size: int, kind: int = 1, more: bool = False, features: int = 0) -> bytes:
    """struct netif_extra_info about GSO."""
    return struct.pack("<BBHBBH", EXTRA_GSO, int(more), size, kind, 0, features)


def extra(kind: int, body: bytes = bytes(6), more: bool = False) -> bytes:
    """Any struct netif_extra_info."""
    return struct.pack("<BB6s", kind, int(more), body)


class RawRing:
    """A ring page, seen from either side.

    Attributes:
        prod: what this side has produced so far.
        cons: what it has consumed.
    """

    def __init__(self, page: memoryview, slot: int) -> None:
        self.page = page
        self.words = page[:RING_BYTES].cast("I")
        self.slot = slot
        self.prod = 0
        self.cons = 0

    def init(self) -> None:
        """SHARED_RING_INIT."""
        self.page[:RING_BYTES] = bytes(RING_BYTES)
        self.words[REQ_EVENT] = self.words[RSP_EVENT] = 1

    def put(self, data: bytes) -> None:
        """The next slot, unpublished."""
        at = RING_BYTES + (self.prod % SLOTS) * self.slot
        self.page[at : at + len(data)] = data
        self.prod += 1

    def publish(self, word: int, value: int | None = None) -> None:
        """Set a producer index, to what was produced or to any value."""
        self.words[word] = (self.prod if value is None else value) & 0xFFFFFFFF

    def at(self, number: int, size: int) -> bytes:
        """The bytes of slot *number*."""
        start = RING_BYTES + (number % SLOTS) * self.slot
        return bytes(self.page[start : start + size])

    def take(self, word: int, size: int) -> list[bytes]:
        """What the other side published and this one has not taken."""
        found = []
        while self.cons & 0xFFFFFFFF != self.words[word]:
            found.append(self.at(self.cons, size))
            self.cons += 1
            assert len(found) <= SLOTS, "an index out of range"
        return found

    def release(self) -> None:
        """Let go of the page."""
        self.words.release()
        self.page.release()


class RawFront:
    """A frontend of a test's own.

    Args:
        dom: the guest.
        backend: domid of the backend.
        queues: how many queues it makes.
        split: two ports for each queue.
        data_pages: pages for frames, granted read-write.
    """

    def __init__(
        self, dom: Domain, backend: int, queues: int = 1, *, split: bool = False,
        data_pages: int = 64,
    ) -> None:  # fmt: skip
        self.dom = dom
        self.backend = backend
        self.rings: Extent = dom.memory.allocate(2 * queues)
        gfns = [self.rings.gfn(page) for page in range(2 * queues)]
        self.ring_refs = dom.grants.grant_many(backend, gfns)
        self.tx = [RawRing(self.rings.page(2 * n), TX_SLOT) for n in range(queues)]
        self.rx = [RawRing(self.rings.page(2 * n + 1), RX_SLOT) for n in range(queues)]
        for ring in (*self.tx, *self.rx):
            ring.init()
        self.bells = 0
        ports = 2 * queues if split else queues
        self.ports = [dom.events.alloc_unbound(backend, self._rang) for _ in range(ports)]
        self.split = split
        self.data: Extent = dom.memory.allocate(data_pages)
        self.refs = dom.grants.grant_many(
            backend, [self.data.gfn(page) for page in range(data_pages)]
        )
        self.posted: list[list[int]] = [[] for _ in range(queues)]
        """The data pages of the RX requests of each queue, in the order of its ring."""

    def _rang(self) -> None:
        self.bells += 1

    # -- what it publishes -------------------------------------------------------------------

    def keys(self, **changed: str | int | None) -> dict[str, str]:
        """What a frontend writes before it is Connected; *changed* keys win, None leaves out."""
        found: dict[str, str | int | None] = {}
        many = len(self.tx) > 1
        if many:
            found["multi-queue-num-queues"] = len(self.tx)
        for number in range(len(self.tx)):
            prefix = f"queue-{number}/" if many else ""
            found[f"{prefix}tx-ring-ref"] = self.ring_refs[2 * number]
            found[f"{prefix}rx-ring-ref"] = self.ring_refs[2 * number + 1]
            if self.split:
                found[f"{prefix}event-channel-tx"] = self.ports[2 * number]
                found[f"{prefix}event-channel-rx"] = self.ports[2 * number + 1]
            else:
                found[f"{prefix}event-channel"] = self.ports[number]
        found |= {
            "request-rx-copy": 1,
            "feature-rx-notify": 1,
            "feature-sg": 1,
            "feature-gso-tcpv4": 1,
            "feature-gso-tcpv6": 1,
            "feature-ipv6-csum-offload": 1,
        }
        found |= {key.replace("_", "-"): value for key, value in changed.items()}
        return {key: str(value) for key, value in found.items() if value is not None}

    # -- what it does with its rings -----------------------------------------------------------

    def ring_bell(self, queue: int = 0) -> None:
        """Notify the backend."""
        for port in self.ports[2 * queue : 2 * queue + 2] if self.split else [self.ports[queue]]:
            self.dom.events.notify(port)

    def transmit(self, slots: Iterable[bytes], queue: int = 0) -> None:
        """Put raw slots on the TX ring, publish, ring."""
        for slot in slots:
            self.tx[queue].put(slot)
        self.tx[queue].publish(REQ_PROD)
        self.ring_bell(queue)

    def fill(self, page: int, data: bytes, offset: int = 0) -> int:
        """Write into a data page; its reference."""
        self.data.page(page)[offset : offset + len(data)] = data
        return self.refs[page]

    def frame(self, data: bytes, page: int = 0, ident: int = 0, flags: int = 0) -> list[bytes]:
        """The slots of a whole frame over pages from *page* on, as an honest frontend has it: the
        first says the total size, the others their own."""
        pieces = [data[at : at + PAGE] for at in range(0, len(data), PAGE)] or [b""]
        slots = []
        for number, piece in enumerate(pieces):
            ref = self.fill(page + number, piece)
            more = TX_MORE if number + 1 < len(pieces) else 0
            size = len(data) if number == 0 else len(piece)
            first = flags if number == 0 else 0
            slots.append(tx_request(ref, 0, first | more, ident + number, size))
        return slots

    def answers(self, queue: int = 0) -> list[tuple[int, int]]:
        """(id, status) of the TX responses that have come."""
        taken = self.tx[queue].take(RSP_PROD, 4)
        return [struct.unpack("<Hh", slot) for slot in taken]

    def post(self, count: int, queue: int = 0, first: int = 0, notify: bool = True) -> None:
        """Offer data pages for frames that come in."""
        for number in range(count):
            page = (first + number) % len(self.refs)
            ident = self.rx[queue].prod % SLOTS
            self.rx[queue].put(struct.pack("<HHI", ident, 0, self.refs[page]))
            self.posted[queue].append(page)
        self.rx[queue].publish(REQ_PROD)
        if notify:
            self.ring_bell(queue)

    def arrived(self, queue: int = 0) -> list[bytes]:
        """The raw RX responses that have come."""
        return self.rx[queue].take(RSP_PROD, RX_SLOT)

    def received(self, queue: int = 0) -> list[bytes]:
        """The whole frames that have come; extra infos are passed over.  Pages are used once."""
        frames, parts = [], b""
        extras = False
        for response in self.arrived(queue):
            page = self.posted[queue].pop(0)
            if extras:
                extras = bool(response[1] & EXTRA_MORE)
                continue
            _, offset, flags, status = struct.unpack("<HHHh", response)
            if status < 0:
                parts = b""
                continue
            parts += bytes(self.data.page(page)[offset : offset + status])
            extras = bool(flags & RX_EXTRA)
            if not flags & RX_MORE:
                frames.append(parts)
                parts = b""
        return frames

    def close(self) -> None:
        """Let go of the pages here; grants and ports stay until the domain goes."""
        for ring in (*self.tx, *self.rx):
            ring.release()


class RawBack:
    """A backend of a test's own, for one queue of a frontend.

    Args:
        dom: the backend's domain.
        frontend: domid of the frontend.
        keys: what it published.
    """

    def __init__(self, dom: Domain, frontend: int, keys: dict[str, str], queue: int = 0) -> None:
        self.dom = dom
        self.frontend = frontend
        prefix = f"queue-{queue}/" if f"queue-{queue}/tx-ring-ref" in keys else ""
        self._pages: list[Mapping] = [
            dom.mapper.map(frontend, int(keys[f"{prefix}{name}-ring-ref"])) for name in ("tx", "rx")
        ]
        self.tx = RawRing(self._pages[0].view, TX_SLOT)
        self.rx = RawRing(self._pages[1].view, RX_SLOT)
        names = ("event-channel",)
        if f"{prefix}event-channel-tx" in keys:
            names = ("event-channel-tx", "event-channel-rx")  # type: ignore[assignment]
        self.bells = 0
        self.ports = [
            dom.events.bind_interdomain(frontend, int(keys[prefix + name]), self._rang)
            for name in names
        ]
        self.requests: list[tuple[int, int]] = []
        """(id, reference) of the RX requests that were taken."""

    def _rang(self) -> None:
        self.bells += 1

    def ring_bell(self) -> None:
        """Notify the frontend."""
        for port in self.ports:
            self.dom.events.notify(port)

    def sent(self) -> list[bytes]:
        """The raw TX slots that have come."""
        return self.tx.take(REQ_PROD, TX_SLOT)

    def sent_frames(self) -> list[bytes]:
        """The frames that the frontend sent, as an honest backend reads and answers them."""
        frames = []
        slots = self.sent()
        while slots:
            first = slots.pop(0)
            ref, offset, flags, ident, size = struct.unpack("<IHHHH", first)
            done = [(ident, OKAY)]
            if flags & TX_EXTRA:
                more = True
                while more:
                    more = bool(slots.pop(0)[1] & EXTRA_MORE)
                    done.append((0, NULL))
            rest = []
            more = bool(flags & TX_MORE)
            while more:
                piece = struct.unpack("<IHHHH", slots.pop(0))
                rest.append(piece)
                done.append((piece[3], OKAY))
                more = bool(piece[2] & TX_MORE)
            own = size - sum(piece[4] for piece in rest)
            data = self.peek(ref, offset, own)
            for ref, offset, _, _, length in rest:
                data += self.peek(ref, offset, length)
            frames.append(data)
            for ident, status in done:
                self.tx.put(tx_response(ident, status))
        self.tx.publish(RSP_PROD)
        return frames

    def peek(self, ref: int, offset: int, length: int) -> bytes:
        """Bytes of a page that the frontend granted."""
        page = self.dom.mapper.map(self.frontend, ref, readonly=True)
        try:
            return bytes(page.view[offset : offset + length])
        finally:
            page.unmap()

    def offered(self) -> list[tuple[int, int]]:
        """(id, reference) of the RX requests that are new."""
        new = [struct.unpack("<HHI", slot) for slot in self.rx.take(REQ_PROD, RX_SLOT)]
        found = [(ident, ref) for ident, _, ref in new]
        self.requests += found
        return found

    def poke(self, ref: int, data: bytes, offset: int = 0) -> None:
        """Write into a page that the frontend offered."""
        page = self.dom.mapper.map(self.frontend, ref)
        try:
            page.view[offset : offset + len(data)] = data
        finally:
            page.unmap()

    def deliver(self, frame: bytes, flags: int = 0) -> None:
        """An honest frame of one page into the next offered one."""
        self.offered()
        ident, ref = self.requests.pop(0)
        self.poke(ref, frame)
        self.respond([rx_response(ident, 0, flags, len(frame))])

    def respond(self, responses: Sequence[bytes]) -> None:
        """Raw RX responses."""
        for response in responses:
            self.rx.put(response)
        self.rx.publish(RSP_PROD)
        self.ring_bell()

    def close(self) -> None:
        """Unmap and unbind."""
        for port in self.ports:
            self.dom.events.close(port)
        self.tx.release()
        self.rx.release()
        self.dom.mapper.unmap_many(self._pages)
