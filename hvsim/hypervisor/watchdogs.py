"""Watchdog timers of domains: one that is not set anew in time ends its domain.

Pure but for the clock and the timer of the host.  A domain sets them in whole seconds, so one look
every quarter of a second serves all; nothing looks while none is armed.

Source: SCHEDOP_watchdog in xen/sched.h, domain_watchdog in Xen's common/sched/core.c.
"""

from collections.abc import Callable
from typing import Final

from hvsim.abi.errno import EINVAL, ENOSPC
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.host import Host

PER_DOMAIN: Final = 2
"""NR_DOMAIN_WATCHDOG_TIMERS."""
LOOK: Final = 250_000_000
"""Nanoseconds between two looks."""
_SECOND: Final = 1_000_000_000


class Watchdogs:
    """The armed timers of all domains.

    Args:
        fired: called with the domain whose timer has run out, once; its timers are gone then.
    """

    def __init__(self, host: Host, fired: Callable[[int], None]) -> None:
        self._host = host
        self._fired = fired
        self._deadlines: dict[tuple[int, int], int] = {}
        self._looking = False

    def set(self, domid: int, number: int, timeout: int) -> int:
        """Arm a timer for *timeout* seconds: number 0 takes a free one, another names one of
        those taken before, which *timeout* 0 gives back.  Returns the number of a new one, else 0.

        Raises: XenError: EINVAL no such timer, ENOSPC.
        """
        if not 0 <= number <= PER_DOMAIN or not 0 <= timeout <= 0xFFFF_FFFF:
            raise XenError(EINVAL)
        if number == 0:
            free = [n for n in range(1, PER_DOMAIN + 1) if (domid, n) not in self._deadlines]
            if not free:
                raise XenError(ENOSPC, f"d{domid} has {PER_DOMAIN} watchdogs, which is the limit")
            self._arm(domid, free[0], timeout)
            return free[0]
        if (domid, number) not in self._deadlines:
            raise XenError(EINVAL)
        if timeout:
            self._arm(domid, number, timeout)
        else:
            del self._deadlines[domid, number]
        return 0

    def forget(self, domid: int) -> None:
        """The domain is no more."""
        for number in range(1, PER_DOMAIN + 1):
            self._deadlines.pop((domid, number), None)

    def _arm(self, domid: int, number: int, timeout: int) -> None:
        self._deadlines[domid, number] = self._host.now() + timeout * _SECOND
        if not self._looking:
            self._looking = True
            self._host.call_later(LOOK, self._look)

    def _look(self) -> None:
        now = self._host.now()
        for domid in {domid for (domid, _), at in self._deadlines.items() if at <= now}:
            self.forget(domid)
            self._fired(domid)
        self._looking = bool(self._deadlines)
        if self._looking:
            self._host.call_later(LOOK, self._look)
