"""The front of the domain's console: a ring page that xenconsoled serves.

Writing never blocks the domain.  What does not fit into the ring waits in a bounded buffer; of what
does not fit there the end is kept, and a mark says where something is missing (``backlog``).

Source: xen/io/console.h; the order of barriers is that of Linux ``drivers/tty/hvc/hvc_xen.c``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hvsim.abi.console import IN, IN_CONS, IN_SIZE, OUT, OUT_PROD, OUT_SIZE
from hvsim.abi.ring import INDEX_MASK
from hvsim.domain.backlog import Backlog
from hvsim.domain.byte_ring import copied, place
from hvsim.domain.events import EventChannels
from hvsim.domain.ring import fence

BUFFER_SIZE: Final = 64 * 1024
"""Bytes that wait here while the daemon is slow."""
RESERVE: Final = 4096
"""Bytes of the newest output that wait besides, whatever was lost before them."""
MAX_LINE: Final = 4096
"""Longest input line; the rest of a longer one becomes the next line."""


class Console:
    """The domain's console.

    Args:
        page: the own console page (``xencons_interface``).
        port: the event channel to the daemon.

    Attributes:
        port: the event channel.
        broken: True once the daemon's indices made no sense; the console is silent from then on.
    """

    def __init__(self, page: memoryview, port: int, events: EventChannels) -> None:
        self._page = page
        self._index = page[IN_CONS : OUT_PROD + 4].cast("I")
        self._events = events
        self.port = port
        self._waiting = Backlog(BUFFER_SIZE, RESERVE)
        self._line = bytearray()
        self._after_cr = False
        # Our own indices live here; the copies in the page are for the daemon to read.
        self._in_cons = self._index[0]
        self._out_prod = self._index[3]
        self._on_line: Callable[[str], None] | None = None
        self._on_input: Callable[[bytes], None] | None = None
        self._on_taken: Callable[[], None] | None = None
        self._listening = True
        self.broken = False
        events.set_handler(port, self.poll)

    def write(self, text: str | bytes) -> None:
        """Send *text* to the console: UTF-8, and bytes as they are, also those of undecodable names
        (``surrogateescape``).  Never blocks, never raises for a slow daemon."""
        self._waiting.add(_encoded(text) if isinstance(text, str) else text)
        if self.broken:
            self._waiting.clear()
        else:
            self._flush()

    def on_line(self, handler: Callable[[str], None] | None) -> None:
        """Call *handler* with every line of input (without its end); None drops input."""
        self._on_line = handler

    def on_input(self, handler: Callable[[bytes], None]) -> None:
        """Call *handler* with all input as it comes, in place of lines."""
        self._on_input = handler

    def on_taken(self, handler: Callable[[], None]) -> None:
        """Call *handler* whenever the daemon may have taken output (see ``unsent``)."""
        self._on_taken = handler

    def listen(self, listening: bool) -> None:
        """Whether input is taken from the ring; the daemon waits while it is full."""
        self._listening = listening
        if listening:
            self._receive()

    def poll(self) -> None:
        """Look at the ring as if the daemon had rung: take input, send what waits."""
        self._receive()
        self._flush()
        if self._on_taken is not None:
            self._on_taken()

    @property
    def dropped(self) -> int:
        """Bytes of output that were lost so far because the daemon did not keep up."""
        return self._waiting.dropped

    @property
    def pending(self) -> int:
        """Bytes of output that the daemon has not taken yet, ring included."""
        return len(self._waiting) + ((self._out_prod - self._index[2]) & INDEX_MASK)

    @property
    def unsent(self) -> int:
        """Bytes of output that did not fit into the ring yet."""
        return len(self._waiting)

    # -- inside ----------------------------------------------------------------------------

    def _break(self) -> None:
        self.broken = True
        self._waiting.clear()

    def _flush(self) -> None:
        """Move what waits into the ring, and ring if anything moved.

        No wake-up is lost: the notify is unconditional, and the daemon rings back after it has
        taken something, which brings us here again.
        """
        moved = False
        page, index, waiting = self._page, self._index, self._waiting.head
        while waiting and not self.broken:
            # The daemon writes cons: read it once, check the copy.  The fence keeps our stores
            # behind that load (they reuse the space that it frees).
            prod = self._out_prod
            used = (prod - index[2]) & INDEX_MASK
            fence()
            if used > OUT_SIZE:
                self._break()
                return
            count = min(len(waiting), OUT_SIZE - used)
            if not count:
                break
            place(page, OUT, OUT_SIZE, prod, waiting[:count])
            self._waiting.took(count)
            fence()
            self._out_prod = index[3] = (prod + count) & INDEX_MASK
            moved = True
        if moved:
            self._events.notify(self.port)

    def _receive(self) -> None:
        page, index = self._page, self._index
        taken = False
        while self._listening and not self.broken:
            cons = self._in_cons
            used = (index[1] - cons) & INDEX_MASK
            fence()
            if used > IN_SIZE:
                self._break()
                return
            if not used:
                break
            data = copied(page, IN, IN_SIZE, cons, used)
            fence()
            self._in_cons = index[0] = (cons + used) & INDEX_MASK
            taken = True
            self._input(data)
        if taken:
            self._events.notify(self.port)

    def _input(self, data: bytes) -> None:
        if self._on_input is not None:
            self._on_input(data)
            return
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


def _encoded(text: str) -> bytes:
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate that stands for no byte
        return text.encode(errors="backslashreplace")
