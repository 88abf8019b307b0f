"""The time of a vCPU, read in the page that the hypervisor shares with it.

System time is nanoseconds since the boot of the host, and what the domain's own offset adds to it.
It is worked out from the TSC with what the page says (the pvclock formula, xen/xen.h); the TSC of
this host is CLOCK_MONOTONIC.  So a look at the clock costs no hypercall, and whoever moves the
parameters moves the domain's time: with a factor of 0 it stands still.

The parameters are kept; a look at the version, which is one word, says whether they still hold.
`hvsim._native` has a compiled reader of the same, as every wait looks at the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hvsim import native
from hvsim.abi.shared_info import VCPU_TIME_INFO, WALL_CLOCK
from hvsim.abi.vcpu import VCPU_RUNSTATE_INFO, XEN_RUNSTATE_UPDATE, RunstateInfo
from hvsim.abi.vcpu_page import RUNSTATE_OFFSET, TIME_OFFSET, WALL_CLOCK_OFFSET, scale

if TYPE_CHECKING:
    from hvsim._native import Clock

_SECOND: Final = 1_000_000_000
_ENTRY_OFFSET: Final = RUNSTATE_OFFSET + VCPU_RUNSTATE_INFO.offsets["state_entry_time"]

tsc: Final[Callable[[], int]] = time.monotonic_ns
"""The TSC of this host."""
machine: Final[Callable[[], float]] = time.monotonic
"""The same in seconds: the clock of who has no page, and so is no domain."""
machine_wall: Final[Callable[[], int]] = time.time_ns
"""The time of day of the machine, for the same."""


def _compiled(page: memoryview) -> Clock | None:
    """The compiled reader of system time, where that is built."""
    module = native.load()
    if module is None:
        return None
    clock: Clock = module.Clock(page[TIME_OFFSET : TIME_OFFSET + VCPU_TIME_INFO.size])
    return clock


class TimePage:
    """The time page of a vCPU.

    Args:
        page: its bytes.
        ticks: the TSC, and the same in seconds.

    Attributes:
        now: system time in seconds.
    """

    def __init__(
        self,
        page: memoryview,
        ticks: Callable[[], int] = tsc,
        seconds: Callable[[], float] = machine,
    ) -> None:
        self._page = page
        self._words = page.cast("I")
        self._longs = page.cast("Q")
        self._ticks = ticks
        self._clock = _compiled(page) if seconds is machine else None
        self.now: Final[Callable[[], float]] = self._clock or self._reader(seconds)

    def close(self) -> None:
        """Nobody reads it any more."""
        if self._clock is not None:
            self._clock.release()
        self._words.release()
        self._longs.release()

    def _reader(self, seconds: Callable[[], float]) -> Callable[[], float]:
        # A closure: its variables cost less than attributes, and every timeout asks for the time.
        words, word = self._words, TIME_OFFSET // 4
        version, rate, base = -1, 0.0, 0.0

        def now() -> float:
            nonlocal version, rate, base
            while True:
                # The TSC first: parameters that are changed after it was read are seen to be.
                ticks = seconds()
                if words[word] == version:
                    return ticks * rate + base
                info = self._stable(TIME_OFFSET, VCPU_TIME_INFO.size)
                version, _, at, system, mul, shift, *_ = VCPU_TIME_INFO.unpack(info)
                rate = mul * 2.0 ** (shift - 32)
                base = system / _SECOND - at / _SECOND * rate

        return now

    def system_time(self) -> int:
        """System time in nanoseconds, exactly."""
        while True:
            info = self._stable(TIME_OFFSET, VCPU_TIME_INFO.size)
            version, _, at, system, mul, shift, *_ = VCPU_TIME_INFO.unpack(info)
            found = system + scale(max(0, self._ticks() - at), mul, shift)
            if self._words[TIME_OFFSET // 4] == version:
                return found

    def wall(self) -> int:
        """The time of day, in nanoseconds of Unix time."""
        info = self._stable(WALL_CLOCK_OFFSET, WALL_CLOCK.size)
        _, low, nanoseconds, high = WALL_CLOCK.unpack(info)
        return int((high << 32 | low) * _SECOND + nanoseconds + self.system_time())

    def runstate(self) -> RunstateInfo:
        """What the vCPU did until the hypervisor last looked at it."""
        while True:
            before = self._longs[_ENTRY_OFFSET // 8]
            state = self._words[RUNSTATE_OFFSET // 4]
            spent = tuple(self._longs[_ENTRY_OFFSET // 8 + 1 + number] for number in range(4))
            if not before & XEN_RUNSTATE_UPDATE and self._longs[_ENTRY_OFFSET // 8] == before:
                return RunstateInfo(state, before, (spent[0], spent[1], spent[2], spent[3]))

    def _stable(self, offset: int, size: int) -> bytes:
        """A structure with a version at its beginning, copied while nobody wrote it."""
        words, word = self._words, offset // 4
        while True:
            before = words[word]
            found = bytes(self._page[offset : offset + size])
            if not before & 1 and words[word] == before:
                return found
