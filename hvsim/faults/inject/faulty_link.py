"""A link (``drivers/net/link.py``) with a bad wire behind it, in the place of a real one.

From the guest: `writev` takes a frame where ``os.writev`` would, and what is due goes on into the
real link.  To the guest: frames of the real link are read here, and netback gets those that are due
by `read`; its `Ear` tells it when there are any.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from hvsim.drivers.net.link import carrier
from hvsim.drivers.net.listener import Ear, listener
from hvsim.drivers.net.offload import VNET
from hvsim.drivers.net.protocol import ETH_HLEN
from hvsim.drivers.net.receive import read_whole
from hvsim.drivers.net.service import TURN
from hvsim.faults.inject.shaper import Shaper, Stage
from hvsim.xs import requests
from hvsim.xs.client import StoreError

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain
    from hvsim.domain.injection import Fault
    from hvsim.domain.timers import Timer
    from hvsim.domain.xenbus.device import Device

LINK_KEY: Final = "link"
"""In the backend's directory, "down" as long as a rule has it so: what ``hvsim ps`` tells."""


class FaultyLink:
    """In the place of *link*, of *device*; nobody else reads that one once `listener` is asked for.

    Args:
        stepped_aside: called when nobody breaks it any more, and the guest has all that it held.
        closed: called when netback is done with it, or it has stepped aside.

    Attributes:
        name: of the link.
        over: whether it has stepped aside: the real link is next.
    """

    tagged = None

    def __init__(
        self,
        dom: Domain,
        link: Any,
        device: Device,
        stepped_aside: Callable[[], None],
        closed: Callable[[], None],
    ) -> None:
        self.device = device
        self.name: str = link.name
        self.over = False
        self._dom = dom
        self._link = link
        self._stepped_aside = stepped_aside
        self._tell_closed = closed
        self._in, self._out = Shaper(), Shaper()
        self._stages: dict[object, tuple[Stage | None, Stage | None]] = {}
        self._down: dict[object, Fault] = {}
        self._ready: deque[bytes] = deque()
        self._ear: Ear | None = None
        self._carrier = False
        self._said_down = False
        self._gone = False
        self._closed = False
        self._timer: Timer | None = None
        self._timer_due = 0.0
        self._listener = listener(dom.vcpu, link, self._readable, self._tagged_readable)

    def __repr__(self) -> str:
        return f"<FaultyLink {self.name} {len(self._stages)} rules>"

    # -- rules -----------------------------------------------------------------------------

    def join(self, rule: object, into: Stage | None, out: Stage | None, down: Fault | None) -> None:
        """A rule more, with its stages; *down* takes the carrier away."""
        self._stages[rule] = into, out
        if into is not None:
            self._in.add(into)
        if out is not None:
            self._out.add(out)
        if down is not None:
            self._down[rule] = down
            if down.fires():
                down.told(f"{self.name}: down")
        self.over = False
        self._try_carrier()
        self._go_on()

    def leave(self, rule: object) -> None:
        """A rule less: what it held goes on.  Idempotent."""
        now = self._dom.vcpu.now()
        into, out = self._stages.pop(rule, (None, None))
        if into is not None:
            self._in.remove(into, now)
        if out is not None:
            self._out.remove(out, now)
        if self._down.pop(rule, None) is not None:
            self._try_carrier()
        self._go_on()
        self._step_aside()

    # -- netback's side, as `Link` has it --------------------------------------------------

    @property
    def fd(self) -> int:
        """The real link's; -1 when that is closed.  Nobody but us reads it, or writes it."""
        return int(self._link.fd)

    def listener(self, readable: Callable[[], None]) -> Ear:
        """What calls *readable* while it listens, and `read` has frames."""
        self._ear = Ear(self._dom.vcpu, self._ready, readable)
        self._listen()
        return self._ear

    def read(self) -> tuple[bytes, bytes] | None:
        """(virtio_net_hdr, frame) that is due for the guest; None when there is none."""
        if not self._ready:
            return None
        data = self._ready.popleft()
        if not self._ready:
            self._dom.vcpu.call_later(0.0, self._emptied)
        return data[: VNET.size], data[VNET.size :]

    def set_carrier(self, on: bool) -> None:
        """As `Link.set_carrier`, where no rule says that it is down.  Raises: OSError."""
        self._carrier = on
        self._set_carrier()

    def writev(self, fd: int, parts: Sequence[bytes | memoryview]) -> int:
        """A frame of the guest, behind its virtio_net_hdr.  Raises: OSError, as the link does."""
        frame = b"".join(parts)
        now = self._dom.vcpu.now()
        self._out.put(frame, now)
        failed = self._send_out(now)
        self._set_timer(now)
        if failed is not None:
            raise failed
        return len(frame)

    def close(self) -> None:
        """Let go of everything but the real link.  Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._listener.stop()
        if self._timer is not None:
            self._timer.cancel()
        self._say_down(down=False)
        self._tell_closed()

    # -- frames ----------------------------------------------------------------------------

    def _readable(self) -> None:
        fd = self._link.fd
        self._read(getattr(self._link, "read", lambda: read_whole(fd)))

    def _tagged_readable(self) -> None:
        self._read(self._link.tagged.read)

    def _read(self, read: Callable[[], tuple[bytes, bytes] | None]) -> None:
        """Frames of the real link, as many as one turn allows."""
        now = self._dom.vcpu.now()
        try:
            for _ in range(TURN):
                found = read()
                if found is None:
                    break
                if len(found[0]) == VNET.size and len(found[1]) >= ETH_HLEN:
                    self._in.put(b"".join(found), now)
        except OSError as failed:
            self._dom.log(f"{self.name}: the link has gone: {failed}")
            self._gone = True
        self._go_on()

    def _go_on(self) -> None:
        """Whatever is due, both ways."""
        if self._closed:
            return
        now = self._dom.vcpu.now()
        self._send_out(now)
        self._send_in(now)
        self._set_timer(now)

    def _send_out(self, now: float) -> OSError | None:
        failed = None
        writev = getattr(self._link, "writev", os.writev)
        for frame in self._out.take(now):
            try:
                writev(self._link.fd, [frame])
            except OSError as error:  # as netback has it: full or down, and the frame is lost
                failed = error
        return failed

    def _send_in(self, now: float) -> None:
        self._ready.extend(self._in.take(now))
        if self._ear is not None:
            self._ear.tell()
        self._listen()

    def _listen(self) -> None:
        """To the real link, once netback does to us; what the guest does not take waits there."""
        heard = self._ear is not None and bool(self._stages) and not self._gone
        if heard and len(self._ready) < TURN:
            self._listener.start()
        else:
            self._listener.stop()

    def _emptied(self) -> None:
        """The guest has all there was."""
        self._go_on()
        self._step_aside()

    def _step_aside(self) -> None:
        """When nobody breaks it any more, and the guest has everything that was for it."""
        if not (self._stages or self._ready or self.over or self._closed):
            self.over = True
            self._stepped_aside()

    def _set_timer(self, now: float) -> None:
        """For the next frame that is due."""
        due = [one for one in (self._in.deadline, self._out.deadline) if one is not None]
        timer, soonest = self._timer, min(due, default=None)
        if soonest is None or (timer is not None and timer.active and self._timer_due <= soonest):
            return
        if timer is not None:
            timer.cancel()
        self._timer_due = soonest
        self._timer = self._dom.vcpu.call_later(max(0.0, soonest - now), self._go_on)

    # -- the carrier -----------------------------------------------------------------------

    def _try_carrier(self) -> None:
        """The link may have gone; that is netback's business, not that of a rule."""
        try:
            self._set_carrier()
        except OSError as failed:
            self._dom.log(f"{self.name}: no word of its carrier: {failed}")

    def _set_carrier(self) -> None:
        down = bool(self._down)
        self._say_down(down=down)
        carrier(self._link, self._carrier and not down)

    def _say_down(self, *, down: bool) -> None:
        """In the store, for people."""
        if down == self._said_down:
            return
        self._said_down = down
        device = self.device
        with contextlib.suppress(StoreError):  # the directory goes first when a device is removed
            if down:
                device.write(LINK_KEY, "down")
            else:
                device.store.pipeline([requests.rm(device.path(LINK_KEY))])
