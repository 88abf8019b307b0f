"""A token bucket: how often something may happen."""


class RateLimit:
    """Allows *burst* at once and *per_second* in the long run; the clock is handed in."""

    __slots__ = ("_burst", "_last", "_per_ns", "_tokens", "suppressed")

    def __init__(self, burst: int, per_second: float) -> None:
        self._burst = float(burst)
        self._per_ns = per_second / 1e9
        self._tokens = float(burst)
        self._last = 0
        self.suppressed = 0
        """How many were refused since the last that was allowed."""

    def allow(self, now: int) -> bool:
        """Whether one more may happen at *now* (nanoseconds); a refusal is counted."""
        if now > self._last:
            self._tokens = min(self._burst, self._tokens + (now - self._last) * self._per_ns)
            self._last = now
        if self._tokens < 1.0:
            self.suppressed += 1
            return False
        self._tokens -= 1.0
        return True

    def take_suppressed(self) -> int:
        """The count of refusals, which starts again at 0."""
        count, self.suppressed = self.suppressed, 0
        return count
