"""How fast a guest may send: the credit of ``rate`` (netback's ``credit_bytes``/``credit_usec``).

Pure: the time is handed in.
"""

from __future__ import annotations

from typing import Final

from hvsim.names.number import unsigned

_UINT64: Final = (1 << 64) - 1
NO_LIMIT: Final = (0, 0)


class Credit:
    """Bytes that may be sent in an interval; nothing of it is saved up for later.

    Args:
        limit: (bytes, microseconds); zeros for no limit.
    """

    def __init__(self, limit: tuple[int, int] = NO_LIMIT) -> None:
        self._bytes, microseconds = limit
        self._interval = microseconds / 1e6
        self._left = self._bytes
        self._renewed = 0.0

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self._bytes > 0 and self._interval > 0.0

    def allowed(self, now: float) -> bool:
        """Whether a frame may be sent at *now* (seconds).  A frame may be larger than what is
        left: the interval after it pays for that."""
        if not self.limited:
            return True
        passed = int((now - self._renewed) / self._interval)
        if passed > 0:
            self._renewed = now
            self._left = min(self._bytes, self._left + passed * self._bytes)
        return self._left > 0

    def spend(self, size: int) -> None:
        """A frame of so many bytes was sent."""
        self._left -= size

    def wait(self, now: float) -> float:
        """Seconds until the credit is renewed."""
        return max(0.0, self._renewed + self._interval - now)


def parse(text: str | None) -> tuple[int, int]:
    """The key ``rate``: "bytes,microseconds"; no limit for anything that is none, as netback."""
    first, _, second = (text or "").partition(",")
    size, interval = unsigned(first, _UINT64), unsigned(second, _UINT64)
    return (size, interval) if size and interval else NO_LIMIT
