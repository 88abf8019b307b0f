"""Frames for a guest: from the link of its netback into its RX rings, in turns.

As Linux' ``xenvif_kthread_guest_rx``: a full ring is waited for, and the link's own bounded queue
with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hvsim.drivers.net.listener import listener
from hvsim.drivers.net.offload import HEADERS, flow
from hvsim.drivers.net.receive import read_whole
from hvsim.drivers.net.service import TURN, QueueService
from hvsim.errors import BrokenByPeer

if TYPE_CHECKING:
    from hvsim.domain import Domain
    from hvsim.drivers.net.multicast import Multicast

Read = Callable[[], tuple[bytes, bytes] | None]
"""(virtio_net_hdr, frame); None when there is none."""


class GuestRx:
    """Of one connected frontend.

    Args:
        link: see `link.py`; it may have a `read` and a `listener` of its own.
        queues: at least one.
        name: of the link, for the log.
        broken: called with why the device has to be given up.
    """

    def __init__(
        self,
        dom: Domain,
        link: Any,
        queues: list[QueueService],
        multicast: Multicast,
        name: str,
        broken: Callable[[str], None],
    ) -> None:
        self._dom = dom
        self._link = link
        self._queues = queues
        self._multicast = multicast
        self._name = name
        self._broken = broken
        self._closed = False
        self._read: Read | None = getattr(link, "read", None)
        self._listener = listener(dom.vcpu, link, self._readable, self._tagged_readable)

    def start(self) -> None:
        """Begin."""
        self._listener.start()

    def close(self) -> None:
        """End.  Idempotent."""
        self._closed = True
        self._listener.stop()

    def posted(self) -> None:
        """The guest has posted pages: frames that waited for them can go on."""
        if not self._listener.on:
            self._readable()

    def _readable(self) -> None:
        read = self._read
        if read is not None:
            self._turn(lambda: self._many(read))
        elif len(self._queues) == 1:
            self._turn(self._one)
        else:
            fd = self._link.fd
            self._turn(lambda: self._many(lambda: read_whole(fd)))

    def _tagged_readable(self) -> None:
        """Frames of a VLAN."""
        self._turn(lambda: self._many(self._link.tagged.read))

    def _turn(self, fill: Callable[[], bool]) -> None:
        """Frames into the RX rings, as much as one turn allows; *fill* says whether one is full."""
        if self._closed:
            return
        try:
            full = fill()
        except BrokenByPeer as broken:
            self._broken(str(broken))
            return
        except OSError as failed:
            self._dom.log(f"{self._name}: the link has gone: {failed}")
            self._listener.stop()
            return
        for queue in self._queues:
            if queue.rx.push():
                self._dom.events.notify(queue.rx_port)
        if full == self._listener.on:
            (self._listener.stop if full else self._listener.start)()

    def _one(self) -> bool:
        """One queue: straight from the link into its pages.  Whether it is full."""
        queue = self._queues[0]
        fd = self._link.fd
        for _ in range(TURN):
            if not queue.ready():
                return True
            if queue.rx.room and not self._multicast.on:
                if not queue.rx.read_frame(fd):
                    return False
                continue
            found = read_whole(fd)
            if found is None:
                return False
            if self._multicast.wanted(found[1][:6]):
                queue.rx.hold(*found)
        return False

    def _many(self, read: Read) -> bool:
        """Several queues: a frame is looked at before it is known where it goes."""
        for _ in range(TURN):
            if not all(queue.ready() for queue in self._queues):
                return True
            found = read()
            if found is None:
                return False
            vnet, frame = found
            if self._multicast.wanted(frame[:6]):
                which = flow(frame[:HEADERS]) % len(self._queues)
                self._queues[which].rx.hold(vnet, frame)
        return False
