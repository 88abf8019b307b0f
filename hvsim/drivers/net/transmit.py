"""Frames on their way out of a guest: from its link into the TX ring, and out of it into a link.

`FrontTransmitter` puts frames into granted pages and requests; `BackTransmitter` takes them out,
checks what they claim, and writes them from the guest's pages straight into the link.  Neither
rings a bell: what says that the peer must be woken is returned.

Headers are copied before they are looked at, and it is the copy that is sent: the guest may change
its page meanwhile (XSA-155).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from hvsim.abi.memory import PAGE_SIZE
from hvsim.abi.netif import (
    NETIF_RSP_DROPPED,
    NETIF_RSP_ERROR,
    NETIF_RSP_NULL,
    NETIF_RSP_OKAY,
    XEN_NETIF_EXTRA_TYPE_MCAST_ADD,
    XEN_NETIF_EXTRA_TYPE_MCAST_DEL,
    XEN_NETIF_MAX_TX_SIZE,
    NETTXF_csum_blank,
    NETTXF_data_validated,
    NETTXF_extra_info,
    NETTXF_more_data,
)
from hvsim.domain.mapper import GrantError
from hvsim.drivers.net.offload import HEADERS, PLAIN, VNET, Unfit, ring_terms, vnet_header
from hvsim.drivers.net.protocol import (
    ETH_HLEN,
    MAX_SLOTS,
    Packet,
    pack_tx_request,
    pack_tx_response,
    take_packet,
    unpack_tx_response,
)
from hvsim.drivers.net.statistics import Direction
from hvsim.errors import BrokenByPeer

if TYPE_CHECKING:
    from hvsim.domain.ring import BackRing, FrontRing
    from hvsim.drivers.capture.tap import Tap
    from hvsim.drivers.split.pages import PeerPages

Writev = Callable[[int, list[bytes | memoryview]], int]
"""``os.writev``, or what a link has in its place."""
NO_DATA: Final = frozenset({errno.EAGAIN, errno.ENETDOWN, errno.EIO, errno.EBADFD})
"""What a read of a link says when there is nothing to be had now."""
_FRAME_PAGES: Final = MAX_SLOTS - 1
"""Pages that a frame of 64 KiB fits into."""
_SLOTS_NEEDED: Final = MAX_SLOTS + 1
"""The largest frame, and its GSO slot."""


class FrontTransmitter:
    """The guest's half of a TX ring.

    Attributes:
        statistics: what was sent.
    """

    def __init__(self, ring: FrontRing, pages: list[memoryview], refs: list[int]) -> None:
        self.statistics = Direction()
        self.ring = ring
        self._pages = pages
        self._refs = refs
        self._free = list(range(len(pages) - 1, -1, -1))
        self._out: set[int] = set()
        self._header = bytearray(VNET.size)

    @property
    def room(self) -> bool:
        """Whether a frame of any size fits now."""
        return self.ring.free >= _SLOTS_NEEDED and len(self._free) >= _FRAME_PAGES

    def read_frame(self, fd: int) -> tuple[int, list[int]] | None:
        """Read one frame of a link into free pages: (its bytes, the pages, not yet taken).

        The caller has looked at `room`.  None when there is none.  Raises OSError.
        """
        pages = self._free[: -_FRAME_PAGES - 1 : -1]
        views = self._pages
        try:
            size = os.readv(fd, [self._header, *[views[page] for page in pages]])
        except OSError as error:
            if error.errno in NO_DATA:
                return None
            raise
        size -= VNET.size
        used = (size + PAGE_SIZE - 1) // PAGE_SIZE
        return size, pages[:used]

    def head(self, pages: list[int]) -> bytes:
        """A copy of the first bytes of a frame that was read."""
        return bytes(self._pages[pages[0]][:HEADERS])

    def issue(self, size: int, pages: list[int], tap: Tap | None = None, queue: int = 0) -> bool:
        """Put a frame that `read_frame` has read on the ring, unpublished; False when dropped."""
        return self._issue(size, pages, self._header, tap, queue)

    def send(self, frame: bytes, vnet: bytes, tap: Tap | None = None, queue: int = 0) -> bool:
        """Put a frame on the ring, unpublished.  The caller has looked at `room`."""
        count = max(1, (len(frame) + PAGE_SIZE - 1) // PAGE_SIZE)
        if count > _FRAME_PAGES:
            self.statistics.drop("too_long")
            return False
        pages = self._free[: -count - 1 : -1]
        for number, page in enumerate(pages):
            part = frame[number * PAGE_SIZE : (number + 1) * PAGE_SIZE]
            self._pages[page][: len(part)] = part
        return self._issue(len(frame), pages, vnet, tap, queue)

    def push(self) -> bool:
        """Publish; whether the backend must be woken."""
        return self.ring.push()

    def collect(self) -> None:
        """Take the answers: their pages are free again.

        Raises: BrokenByPeer.
        """
        consume = self.ring.consume
        while (raw := consume()) is not None:
            ident, status = unpack_tx_response(raw)
            if status == NETIF_RSP_NULL:
                continue
            if ident not in self._out:
                raise BrokenByPeer(f"an answer for id {ident}, which is not out")
            self._out.discard(ident)
            self._free.append(ident)
            if status == NETIF_RSP_ERROR:
                self.statistics.error("backend_error")
            elif status == NETIF_RSP_DROPPED:
                self.statistics.drop("backend_dropped")

    def release(self) -> None:
        """Let go of the pages; the ring is the share's."""
        for view in self._pages:
            view.release()

    def _issue(
        self,
        size: int,
        pages: list[int],
        vnet: bytes | bytearray,
        tap: Tap | None,
        queue: int,
    ) -> bool:
        if size < ETH_HLEN or size > XEN_NETIF_MAX_TX_SIZE:
            self.statistics.drop("too_short" if size < ETH_HLEN else "too_long")
            return False
        flags = 0
        extra = None
        if vnet != PLAIN:
            try:
                blank, validated, extra = ring_terms(vnet)
            except Unfit as odd:
                self.statistics.drop(str(odd))
                return False
            flags = (NETTXF_csum_blank if blank else 0) | (
                NETTXF_data_validated if validated else 0
            )
            if extra is not None:
                flags |= NETTXF_extra_info
        if tap is not None and tap.on:
            frame = b"".join(self._pages[page] for page in pages)[:size]
            tap.frame(frame, bytes(vnet), sent=True, queue=queue)
        produce, refs = self.ring.produce, self._refs
        last = len(pages) - 1
        page = pages[0]
        more = NETTXF_more_data if last else 0
        # The first says how long the whole is, the others how long they are.
        produce(pack_tx_request(refs[page], 0, flags | more, page, size))
        if extra is not None:
            produce(extra)
        rest = size - PAGE_SIZE
        for number in range(1, last + 1):
            page = pages[number]
            more = NETTXF_more_data if number < last else 0
            produce(pack_tx_request(refs[page], 0, more, page, min(rest, PAGE_SIZE)))
            rest -= PAGE_SIZE
        del self._free[-len(pages) :]
        self._out.update(pages)
        self.statistics.count(size)
        return True


class BackTransmitter:
    """The backend's half of a TX ring.

    Args:
        fd: of the link; -1 without one.
        multicast: what is done with an address that the guest wants to hear, or no longer:
            (add, address) -> whether it is known now.
        credit: asked for the bytes of each frame; see `rate.py`.
        longest: bytes of a frame that the link takes; a bridge loses longer ones without a word.
    """

    def __init__(
        self,
        ring: BackRing,
        pages: PeerPages,
        fd: int,
        multicast: Callable[[bool, bytes], bool],
        tap: Tap | None,
        number: int,
        longest: int = XEN_NETIF_MAX_TX_SIZE,
    ) -> None:
        self.statistics = Direction()
        self.ring = ring
        self._fd = fd
        self._writev: Writev = os.writev
        self._longest = longest
        self._pages = pages
        self._multicast = multicast
        self._tap = tap
        self._number = number

    def use(self, link: Any) -> None:
        """Frames go into *link* from now on (`link.py`); one that takes them itself has a
        ``writev``, which is called as that of a descriptor."""
        self._fd = link.fd
        self._writev = getattr(link, "writev", os.writev)

    def run(self, budget: int, allowed: Callable[[], bool], spent: Callable[[int], None]) -> bool:
        """Send up to `budget` frames on; whether there may be more.

        `allowed` is asked before each; `spent` is told its bytes.
        Raises: BrokenByPeer.
        """
        consume = self.ring.consume
        for _ in range(budget):
            if not allowed():
                return False
            packet = take_packet(consume)
            if packet is None:
                return False
            spent(packet.size)
            self._answer(packet, self._send(packet))
        return True

    def push(self) -> bool:
        """Publish the answers; whether the guest must be woken."""
        return self.ring.push()

    def _answer(self, packet: Packet, status: int) -> None:
        produce = self.ring.produce
        for ident in packet.ids:
            if ident is None:
                produce(pack_tx_response(0, NETIF_RSP_NULL))
            else:
                produce(pack_tx_response(ident, status))

    def _send(self, packet: Packet) -> int:
        for kind in (XEN_NETIF_EXTRA_TYPE_MCAST_ADD, XEN_NETIF_EXTRA_TYPE_MCAST_DEL):
            if kind in packet.extras:
                add = kind == XEN_NETIF_EXTRA_TYPE_MCAST_ADD
                known = self._multicast(add, packet.extras[kind][2:8])
                return NETIF_RSP_OKAY if known else NETIF_RSP_ERROR
        if packet.refused is not None:
            self.statistics.error(packet.refused)
            return NETIF_RSP_ERROR
        refs = [slot.gref for slot in packet.slots]
        try:
            with self._pages.use(refs, write=False) as views:
                return self._write(packet, views)
        except GrantError:
            self.statistics.error("bad_grant")
            return NETIF_RSP_ERROR

    def _write(self, packet: Packet, views: list[memoryview]) -> int:
        if packet.size > self._longest and packet.gso is None:
            self.statistics.drop("longer_than_mtu")
            return NETIF_RSP_DROPPED
        parts: list[bytes | memoryview] = [
            view[slot.offset : slot.offset + slot.size]
            for view, slot in zip(views, packet.slots, strict=True)
        ]
        flags = packet.flags
        vnet = PLAIN
        if flags or packet.extras:
            head = bytes(parts[0][:HEADERS])
            if len(head) < HEADERS and len(parts) > 1:
                # Headers may be split over slots (XSA-423): bring them together.
                whole = b"".join(parts)
                head, parts = whole[:HEADERS], [whole]
            try:
                vnet = vnet_header(
                    head,
                    blank=bool(flags & NETTXF_csum_blank),
                    validated=bool(flags & NETTXF_data_validated),
                    gso=packet.gso,
                )
            except Unfit as odd:
                self.statistics.error(str(odd))
                return NETIF_RSP_ERROR
            parts[0:1] = [head, parts[0][len(head) :]]
        tap = self._tap
        if tap is not None and tap.on:
            frame = b"".join(parts)
            parts = [frame]
            tap.frame(frame, vnet, sent=False, queue=self._number)
        return write_frame(self._fd, vnet, parts, packet.size, self.statistics, self._writev)


def write_frame(
    fd: int,
    vnet: bytes,
    parts: list[bytes | memoryview],
    size: int,
    statistics: Direction,
    writev: Writev = os.writev,
) -> int:
    """Write a frame into a link; NETIF_RSP_OKAY, or _DROPPED and a drop counted."""
    if fd < 0:
        statistics.drop("no_link")
        return NETIF_RSP_DROPPED
    try:
        writev(fd, [vnet, *parts])
    except OSError as error:
        statistics.drop(_WHY.get(error.errno or 0, "link_error"))
        return NETIF_RSP_DROPPED
    statistics.count(size)
    return NETIF_RSP_OKAY


_WHY: Final = {
    errno.EAGAIN: "link_full",
    errno.ENOBUFS: "link_full",
    errno.EINVAL: "link_refused",
    errno.ENETDOWN: "link_down",
    errno.EIO: "link_down",
}
"""How a failed write of a link is counted."""
