"""Scheduler operations and why a domain stopped (xen/sched.h)."""

from types import MappingProxyType
from typing import Final

from hvsim.abi.layout import Layout

SCHEDOP_yield: Final = 0
SCHEDOP_block: Final = 1
SCHEDOP_shutdown: Final = 2
SCHEDOP_poll: Final = 3
SCHEDOP_remote_shutdown: Final = 4
SCHEDOP_shutdown_code: Final = 5
SCHEDOP_watchdog: Final = 6

SHUTDOWN_poweroff: Final = 0
SHUTDOWN_reboot: Final = 1
SHUTDOWN_suspend: Final = 2
SHUTDOWN_crash: Final = 3
SHUTDOWN_watchdog: Final = 4
SHUTDOWN_soft_reset: Final = 5
SHUTDOWN_MAX: Final = 5
"""Largest valid reason; a larger one is -EINVAL."""

SHUTDOWN_NAMES: Final = MappingProxyType(
    {
        SHUTDOWN_poweroff: "poweroff",
        SHUTDOWN_reboot: "reboot",
        SHUTDOWN_suspend: "suspend",
        SHUTDOWN_crash: "crash",
        SHUTDOWN_watchdog: "watchdog",
        SHUTDOWN_soft_reset: "soft_reset",
    }
)

NMI_SIGNAL: Final = 44
"""Ours: the signal of a domain's main process that stands for an NMI of its vCPU.  A real-time
one, which no program of a guest is likely to use, and which is ignored until one listens."""

SHUTDOWN: Final = Layout("sched_shutdown_t", [("reason", "I")])
POLL: Final = Layout("sched_poll_t", [("ports", "Q"), ("nr_ports", "I"), ("timeout", "Q")])
REMOTE_SHUTDOWN: Final = Layout("sched_remote_shutdown_t", [("domain_id", "H"), ("reason", "I")])
WATCHDOG: Final = Layout("sched_watchdog_t", [("id", "I"), ("timeout", "I")])
