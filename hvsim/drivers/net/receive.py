"""Frames on their way into a guest: from a link into posted pages, and out of these into its own.

`FrontReceiver` posts empty pages, puts responses together into frames and writes them into the
guest's link (or keeps them for its packet interface).  `BackReceiver` reads a frame of its link
straight into posted pages and answers with the slots it used.

A ring's place decides what belongs together, not what the other half says: answers come in the
order of the requests, an extra info slot takes the place of one.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hvsim.abi.memory import PAGE_SIZE
from hvsim.abi.netif import (
    EXTRA_GSO,
    NETIF_RSP_ERROR,
    XEN_NETIF_EXTRA_FLAG_MORE,
    XEN_NETIF_EXTRA_TYPE_GSO,
    XEN_NETIF_EXTRA_TYPE_MAX,
    XEN_NETIF_EXTRA_TYPE_NONE,
    NETRXF_csum_blank,
    NETRXF_data_validated,
    NETRXF_extra_info,
    NETRXF_more_data,
)
from hvsim.domain.mapper import GrantError
from hvsim.drivers.net.offload import HEADERS, PLAIN, VNET, Unfit, ring_terms, vnet_header
from hvsim.drivers.net.protocol import (
    ETH_HLEN,
    MAX_SLOTS,
    pack_rx_request,
    pack_rx_response,
    unpack_rx_request,
    unpack_rx_response,
)
from hvsim.drivers.net.statistics import Direction
from hvsim.drivers.net.transmit import NO_DATA, write_frame

if TYPE_CHECKING:
    from hvsim.domain.ring import BackRing, FrontRing
    from hvsim.drivers.capture.tap import Tap
    from hvsim.drivers.split.pages import PeerPages

SLOTS_NEEDED: Final = MAX_SLOTS + 1
"""Posted pages that a frame of any size may take, with its GSO slot."""
_FRAME_MAX: Final = (MAX_SLOTS - 1) * PAGE_SIZE

Deliver = Callable[[bytes, list[bytes | memoryview], int], None]
"""Takes a frame: its virtio_net_hdr, its parts, its bytes."""


class FrontReceiver:
    """The guest's half of an RX ring."""

    def __init__(self, ring: FrontRing, pages: list[memoryview], refs: list[int]) -> None:
        self.statistics = Direction()
        self.ring = ring
        self._pages = pages
        self._refs = refs
        self._posted: deque[int] = deque()
        self._free = list(range(len(pages)))

    def post(self) -> bool:
        """Post every page that is free; whether the backend must be woken."""
        produce, refs = self.ring.produce, self._refs
        room = min(self.ring.free, len(self._free))
        for _ in range(room):
            page = self._free.pop()
            produce(pack_rx_request(page, 0, refs[page]))
            self._posted.append(page)
        return self.ring.push() if room else False

    def run(self, budget: int, deliver: Deliver) -> bool:
        """Hand over up to `budget` frames; whether there may be more.

        Raises: BrokenByPeer.
        """
        for _ in range(budget):
            raw = self.ring.consume()
            if raw is None:
                return False
            self._frame(raw, deliver)
        return True

    def release(self) -> None:
        """Let go of the pages; the ring is the share's."""
        for view in self._pages:
            view.release()

    def _frame(self, raw: bytes, deliver: Deliver) -> None:
        """One frame, that begins with this response."""
        _, offset, flags, status = unpack_rx_response(raw)
        pages = [self._posted.popleft()]
        gso, complete = None, True
        if flags & NETRXF_extra_info:
            gso, complete = self._extras()
        found = [(offset, status)]
        more = flags
        while complete and more & NETRXF_more_data:
            following = self.ring.consume()
            if following is None:
                complete = False
                break
            _, offset, more, status = unpack_rx_response(following)
            pages.append(self._posted.popleft())
            found.append((offset, status))
        try:
            if complete:
                self._deliver(pages, found, flags, gso, deliver)
            else:
                self.statistics.error("missing_slots")
        finally:
            self._free += pages

    def _extras(self) -> tuple[tuple[int, int] | None, bool]:
        """(GSO type and size, whether all extra slots were there)."""
        gso = None
        more = XEN_NETIF_EXTRA_FLAG_MORE
        while more & XEN_NETIF_EXTRA_FLAG_MORE:
            raw = self.ring.consume()
            if raw is None:
                return None, False
            self._free.append(self._posted.popleft())
            kind, more, size, gso_type, _, _ = EXTRA_GSO.struct.unpack(raw)
            if kind == XEN_NETIF_EXTRA_TYPE_NONE or kind >= XEN_NETIF_EXTRA_TYPE_MAX:
                self.statistics.error("extra_type")
            elif kind == XEN_NETIF_EXTRA_TYPE_GSO:
                gso = (gso_type, size)
        return gso, True

    def _deliver(
        self,
        pages: list[int],
        found: list[tuple[int, int]],
        flags: int,
        gso: tuple[int, int] | None,
        deliver: Deliver,
    ) -> None:
        parts: list[bytes | memoryview] = []
        size = 0
        for page, (offset, status) in zip(pages, found, strict=True):
            if status < 0 or offset + status > PAGE_SIZE:
                self.statistics.error("backend_error" if status < 0 else "leaves_page")
                return
            parts.append(self._pages[page][offset : offset + status])
            size += status
        if size < ETH_HLEN or len(pages) > MAX_SLOTS:
            self.statistics.error("too_short" if size < ETH_HLEN else "too_many_slots")
            return
        blank = bool(flags & NETRXF_csum_blank)
        validated = bool(flags & NETRXF_data_validated)
        vnet = PLAIN
        if blank or validated or gso is not None:
            head = bytes(parts[0][:HEADERS])
            if len(head) < HEADERS and len(parts) > 1:
                whole = b"".join(parts)
                head, parts = whole[:HEADERS], [whole]
            try:
                vnet = vnet_header(head, blank=blank, validated=validated, gso=gso)
            except Unfit as odd:
                self.statistics.error(str(odd))
                return
            parts[0:1] = [head, parts[0][len(head) :]]
        deliver(vnet, parts, size)


class BackReceiver:
    """The backend's half of an RX ring.

    Attributes:
        sg, gso: what the guest takes: frames of several pages, frames to be cut.
    """

    def __init__(
        self,
        ring: BackRing,
        pages: PeerPages,
        *,
        sg: bool,
        tap: Tap | None,
        number: int,
    ) -> None:
        self.statistics = Direction()
        self.ring = ring
        self.sg = sg
        self._pages = pages
        self._tap = tap
        self._number = number
        self._posted: deque[tuple[int, int]] = deque()
        self._waiting: tuple[bytes, bytes] | None = None
        self._header = bytearray(VNET.size)

    def take_requests(self) -> None:
        """Take what the guest has posted.  Raises BrokenByPeer."""
        consume = self.ring.consume
        while (raw := consume()) is not None:
            ident, _, gref = unpack_rx_request(raw)
            self._posted.append((ident, gref))

    @property
    def room(self) -> bool:
        """Whether a frame of any size that the guest takes fits now."""
        if self._waiting is not None:
            return False
        return len(self._posted) >= (SLOTS_NEEDED if self.sg else 1)

    def hold(self, vnet: bytes, frame: bytes) -> None:
        """Put a frame that was read, now or when there are pages for it: one at most waits."""
        assert self._waiting is None, "one frame at most waits for pages"
        self._waiting = (vnet, frame)
        self.flush()

    def flush(self) -> bool:
        """Put the frame that waits, if there are pages for it by now; whether none waits."""
        if self._waiting is None:
            return True
        vnet, frame = self._waiting
        if len(self._posted) < slots_of(len(frame), vnet):
            return False
        self._waiting = None
        self.put(frame, vnet)
        return True

    def read_frame(self, fd: int) -> bool:
        """Read one frame of a link into posted pages; False when there is none.

        The caller has looked at `room`.  Raises: OSError of the link.
        """
        if not self._pages.persistent or not self.sg:
            return self._read_and_copy(fd)
        # The second place of the ring is left for a GSO slot.
        places = [0, *range(2, SLOTS_NEEDED)]
        posted = self._posted
        try:
            with self._pages.use([posted[n][1] for n in places], write=True) as views:
                size = os.readv(fd, [self._header, *views]) - VNET.size
                if size < ETH_HLEN:
                    self.statistics.drop("too_short")
                    return True
                vnet = bytes(self._header)
                used = (size + PAGE_SIZE - 1) // PAGE_SIZE
                if self._tap is not None and self._tap.on:
                    frame = b"".join(views[:used])[:size]
                    self._tap.frame(frame, vnet, sent=True, queue=self._number)
                terms = self._terms(vnet)
                if terms is None:
                    return True
                blank_validated, extra = terms
                if used > 1 and extra is None:
                    # No GSO slot: what was read past it belongs one place further ahead.
                    return self._put_copy(b"".join(views[:used])[:size], vnet)
        except GrantError:
            self._refuse(places)
            return True
        except OSError as error:
            if error.errno in NO_DATA:
                return False
            raise
        self._respond(size, blank_validated, extra)
        return True

    def put(self, frame: bytes, vnet: bytes) -> bool:
        """Put a frame that is at hand into posted pages.  The caller has looked at `room`."""
        if self._tap is not None and self._tap.on:
            self._tap.frame(frame, vnet, sent=True, queue=self._number)
        return self._put_copy(frame, vnet)

    def push(self) -> bool:
        """Publish the answers; whether the guest must be woken."""
        return self.ring.push()

    # -- inside ----------------------------------------------------------------------------

    def _read_and_copy(self, fd: int) -> bool:
        frame = read_whole(fd)
        if frame is None:
            return False
        vnet, data = frame
        self.put(data, vnet)
        return True

    def _put_copy(self, frame: bytes, vnet: bytes) -> bool:
        size = len(frame)
        used = max(1, (size + PAGE_SIZE - 1) // PAGE_SIZE)
        terms = self._terms(vnet)
        if terms is None:
            return False
        flags, extra = terms
        if size < ETH_HLEN or used > (MAX_SLOTS if self.sg else 1):
            self.statistics.drop("too_short" if size < ETH_HLEN else "too_long")
            return False
        places = list(range(used)) if extra is None else [0, *range(2, used + 1)]
        if len(self._posted) <= places[-1]:
            self.statistics.drop("no_buffer")
            return False
        try:
            refs = [self._posted[place][1] for place in places]
            with self._pages.use(refs, write=True) as views:
                for number, view in enumerate(views):
                    part = frame[number * PAGE_SIZE : (number + 1) * PAGE_SIZE]
                    view[: len(part)] = part
        except GrantError:
            self._refuse(places)
            return False
        self._respond(size, flags, extra)
        return True

    def _terms(self, vnet: bytes) -> tuple[int, bytes | None] | None:
        """(NETRXF_* flags, GSO slot) of a frame; None when it has to be dropped."""
        if vnet == PLAIN:
            return 0, None
        try:
            blank, validated, extra = ring_terms(vnet)
        except Unfit as odd:
            self.statistics.drop(str(odd))
            return None
        flags = (NETRXF_csum_blank if blank else 0) | (NETRXF_data_validated if validated else 0)
        return flags, extra

    def _respond(self, size: int, flags: int, extra: bytes | None) -> None:
        produce, take = self.ring.produce, self._posted.popleft
        used = (size + PAGE_SIZE - 1) // PAGE_SIZE
        ident, _ = take()
        more = NETRXF_more_data if used > 1 else 0
        first = flags | more | (NETRXF_extra_info if extra is not None else 0)
        produce(pack_rx_response(ident, 0, first, min(size, PAGE_SIZE)))
        if extra is not None:
            take()
            produce(extra)
        rest = size - PAGE_SIZE
        for number in range(1, used):
            ident, _ = take()
            more = NETRXF_more_data if number < used - 1 else 0
            produce(pack_rx_response(ident, 0, more, min(rest, PAGE_SIZE)))
            rest -= PAGE_SIZE
        self.statistics.count(size)

    def _refuse(self, places: list[int]) -> None:
        """A page that the guest posted cannot be mapped: it gets them back with an error."""
        self.statistics.error("bad_grant")
        for _ in range(places[-1] + 1):
            ident, _ = self._posted.popleft()
            self.ring.produce(pack_rx_response(ident, 0, 0, NETIF_RSP_ERROR))


def slots_of(size: int, vnet: bytes) -> int:
    """Slots that a frame takes in an RX ring."""
    return max(1, (size + PAGE_SIZE - 1) // PAGE_SIZE) + int(VNET.unpack(vnet)[1] != 0)


def read_whole(fd: int) -> tuple[bytes, bytes] | None:
    """(virtio_net_hdr, frame) of a link; None when there is none.  Raises OSError."""
    try:
        data = os.read(fd, VNET.size + _FRAME_MAX)
    except OSError as error:
        if error.errno in NO_DATA:
            return None
        raise
    return data[: VNET.size], data[VNET.size :]


__all__ = ["BackReceiver", "FrontReceiver", "read_whole", "write_frame"]
