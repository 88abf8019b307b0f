"""A domain's time as a line over the host's: where it stands, and how fast it goes.  Pure.

Nanoseconds throughout.  As the page says it (xen/xen.h, vcpu_time_info): system time *system* at
TSC *tsc*, and *mul* with TSC_SHIFT from then on.
"""

from typing import Final

from hvsim.abi.vcpu_page import TSC_MUL, TSC_SHIFT, scale

_MILLION: Final = 1_000_000


class DomainTime:
    """The time of one domain; at first the host's.

    Attributes:
        wall_shift: what its time of day is ahead by, beside its system time.
    """

    def __init__(self) -> None:
        self._tsc = 0
        self._system = 0
        self._mul = TSC_MUL
        self.wall_shift = 0

    def at(self, now: int) -> int:
        """System time at *now* of the host."""
        return self._system + scale(max(0, now - self._tsc), self._mul, TSC_SHIFT)

    def when(self, system: int) -> int:
        """When, by the host's time, system time is *system* or a little more."""
        return self._tsc - (-(system - self._system) * TSC_MUL // self._mul)

    def parameters(self) -> tuple[int, int, int]:
        """TSC, system time at it, and the factor: as `VCpuPage.set_time` takes them."""
        return self._tsc, self._system, self._mul

    def jump(self, now: int, by: int) -> None:
        """Go *by* ahead at once.  What never goes back stays where it is; the time of day does."""
        if by >= 0:
            self._tsc, self._system = now, self.at(now) + by
        else:
            self.wall_shift += by

    def drift(self, now: int, ppm: float) -> None:
        """From now on go *ppm* millionths faster than the host, or slower."""
        self._tsc, self._system = now, self.at(now)
        self._mul = round(TSC_MUL * (_MILLION + ppm) / _MILLION)
