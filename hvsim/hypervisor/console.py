"""The console ring: what ``xl dmesg`` shows.

Source: ``console_io`` in xen/xen.h; line prefixes as real Xen prints them: ``(XEN)`` for the
hypervisor's own lines, ``(d5)`` for what guest 5 says.  A real dom0's lines go to the serial line
alone; here the ring is the one place for what its daemons have to say, as lines of the host.
"""

from collections import deque
from collections.abc import Generator
from typing import Final

from hvsim.hypervisor.ratelimit import RateLimit
from hvsim.hypervisor.work import pieces

RING_BYTES: Final = 64 * 1024
LINE_BYTES: Final = 1024
"""A longer line of a guest is cut."""
LINES: Final = 128
"""Lines that are entered in one piece of work."""
GUEST_BURST: Final = 64
GUEST_PER_SECOND: Final = 32.0
_XEN: Final = "(XEN) "
_PRINTABLE: Final = {code: "?" for code in range(32) if code != 9} | {127: "?"}


class ConsoleRing:
    """A bounded ring of text lines."""

    def __init__(self, size: int = RING_BYTES) -> None:
        self._size = size
        self._used = 0
        self._lines: deque[str] = deque()
        self._limits: dict[int, RateLimit] = {}

    def xen(self, text: str) -> None:
        """A line of the hypervisor's own."""
        self._append(f"{_XEN}{text}\n")

    def guest(self, domid: int, data: bytes, now: int) -> Generator[None, None, bool]:
        """What a domain wrote, one ring line for each of its lines. A job (``work``).

        Control characters become "?", so that a guest cannot forge a line or move the cursor of
        the reader's terminal. False when the domain writes too fast and some of it was dropped.
        """
        prefix = f"(d{domid}) " if domid else _XEN
        lines = data.decode("utf-8", "replace").split("\n")
        if lines[-1] == "":
            lines.pop()
        limit = None
        if domid:
            limit = self._limits.get(domid)
            if limit is None:
                limit = self._limits[domid] = RateLimit(GUEST_BURST, GUEST_PER_SECOND)
        for pause, piece in pieces(lines, LINES):
            if pause:
                yield
            for line in piece:
                if limit is not None:
                    if not limit.allow(now):
                        return False
                    if lost := limit.take_suppressed():
                        self.xen(f"d{domid}: {lost} console writes suppressed")
                self._append(f"{prefix}{line[:LINE_BYTES].translate(_PRINTABLE)}\n")
        return True

    def forget(self, domid: int) -> None:
        """A domain is no more."""
        self._limits.pop(domid, None)

    def read(self, clear: bool) -> str:
        """Everything in the ring; *clear* empties it."""
        text = "".join(self._lines)
        if clear:
            self._lines.clear()
            self._used = 0
        return text

    def _append(self, line: str) -> None:
        self._lines.append(line)
        self._used += len(line)
        while self._used > self._size:
            self._used -= len(self._lines.popleft())
