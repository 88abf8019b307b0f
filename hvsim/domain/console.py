"""The front of the domain's console: a ring page that xenconsoled serves.

Writing never blocks the domain.  What does not fit into the ring waits in a bounded buffer; what
does not fit there is dropped, counted, and reported in the output where it is missing.

Source: xen/io/console.h; the order of barriers is that of Linux ``drivers/tty/hvc/hvc_xen.c``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hvsim.abi.console import IN, IN_CONS, IN_SIZE, OUT, OUT_PROD, OUT_SIZE
from hvsim.domain.events import EventChannels
from hvsim.domain.ring import fence

BUFFER_SIZE: Final = 64 * 1024
"""Bytes that wait here while the daemon is slow."""
MAX_LINE: Final = 4096
"""Longest input line; the rest of a longer one becomes the next line."""
_MASK32: Final = 0xFFFF_FFFF


class Console:
    """The domain's console.

    Args:
        page: the own console page (``xencons_interface``).
        port: the event channel to the daemon.

    Attributes:
        port: the event channel.
        dropped: bytes of output that were lost so far because the daemon did not keep up.
        broken: True once the daemon's indices made no sense; the console is silent from then on.
    """

    def __init__(self, page: memoryview, port: int, events: EventChannels) -> None:
        self._page = page
        self._index = page[IN_CONS : OUT_PROD + 4].cast("I")
        self._events = events
        self.port = port
        self._waiting = bytearray()
        self._lost = 0
        self._line = bytearray()
        self._after_cr = False
        # Our own indices live here; the copies in the page are for the daemon to read.
        self._in_cons = self._index[0]
        self._out_prod = self._index[3]
        self._on_line: Callable[[str], None] | None = None
        self.dropped = 0
        self.broken = False
        events.set_handler(port, self.poll)

    def write(self, text: str | bytes) -> None:
        """Send *text* (UTF-8) to the console.  Never blocks, never raises for a slow daemon."""
        data = text.encode(errors="replace") if isinstance(text, str) else text
        if self.broken:
            self.dropped += len(data)
            return
        room = BUFFER_SIZE - len(self._waiting)
        if self._lost and room >= len(data) + 64:
            self._waiting += b"\n[%d bytes of console output lost]\n" % self._lost
            self._lost = 0
            room = BUFFER_SIZE - len(self._waiting)
        if len(data) > room or self._lost:
            # Once something was lost all is lost until there is room for the notice: text with a
            # hole that nobody sees is worse than a longer hole.
            kept = 0 if self._lost else room
            self._lost += len(data) - kept
            self.dropped += len(data) - kept
            data = data[:kept]
        self._waiting += data
        self._flush()

    def on_line(self, handler: Callable[[str], None] | None) -> None:
        """Call *handler* with every line of input (without its end); None drops input."""
        self._on_line = handler

    def poll(self) -> None:
        """Look at the ring as if the daemon had rung: take input, send what waits."""
        self._receive()
        self._flush()

    @property
    def pending(self) -> int:
        """Bytes of output that the daemon has not taken yet, ring included."""
        return len(self._waiting) + ((self._out_prod - self._index[2]) & _MASK32)

    @property
    def unsent(self) -> int:
        """Bytes of output that did not fit into the ring yet."""
        return len(self._waiting)

    # -- inside ----------------------------------------------------------------------------

    def _break(self) -> None:
        self.broken = True
        self.dropped += len(self._waiting)
        self._waiting.clear()

    def _flush(self) -> None:
        """Move what waits into the ring, and ring if anything moved.

        No wake-up is lost: the notify is unconditional, and the daemon rings back after it has
        taken something, which brings us here again.
        """
        moved = False
        page, index, waiting = self._page, self._index, self._waiting
        while waiting and not self.broken:
            # The daemon writes cons: read it once, check the copy.  The fence keeps our stores
            # behind that load (they reuse the space that it frees).
            prod = self._out_prod
            used = (prod - index[2]) & _MASK32
            fence()
            if used > OUT_SIZE:
                self._break()
                return
            start = prod & (OUT_SIZE - 1)
            count = min(len(waiting), OUT_SIZE - used, OUT_SIZE - start)
            if not count:
                break
            page[OUT + start : OUT + start + count] = waiting[:count]
            del waiting[:count]
            fence()
            self._out_prod = index[3] = (prod + count) & _MASK32
            moved = True
        if moved:
            self._events.notify(self.port)

    def _receive(self) -> None:
        page, index = self._page, self._index
        taken = False
        while not self.broken:
            cons = self._in_cons
            used = (index[1] - cons) & _MASK32
            fence()
            if used > IN_SIZE:
                self._break()
                return
            if not used:
                break
            start = cons & (IN_SIZE - 1)
            count = min(used, IN_SIZE - start)
            data = bytes(page[IN + start : IN + start + count])
            fence()
            self._in_cons = index[0] = (cons + count) & _MASK32
            taken = True
            self._input(data)
        if taken:
            self._events.notify(self.port)

    def _input(self, data: bytes) -> None:
        line = self._line
        for byte in data:
            if byte == 0x0D or (byte == 0x0A and not self._after_cr):
                self._deliver()
            elif byte != 0x0A:
                line.append(byte)
                if len(line) >= MAX_LINE:
                    self._deliver()
            self._after_cr = byte == 0x0D

    def _deliver(self) -> None:
        text = self._line.decode(errors="replace")
        self._line.clear()
        if self._on_line is not None:
            self._on_line(text)
