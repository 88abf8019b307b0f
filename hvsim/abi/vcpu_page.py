"""The two pages that a vCPU shares with the hypervisor: Xen's structures, at places of our choice.

*The time page* is written by the hypervisor, and its seal keeps everybody else from it::

       0  shared_info (xen/xen.h), of which are written:
            vcpu_info[0].time        the system time, for the pvclock formula
            wc_version ... wc_sec_hi the wall clock at system time 0
    3136  vcpu_runstate_info        as of the hypervisor's last look

*The own page* is written by the vCPU, and read by the hypervisor, which copies it once and believes
of it what can harm nobody but the writer::

       0  u64  blocked_until   RUNNING; else the system time until which the vCPU is blocked, or
                               NEVER: an event alone wakes it

One word, written in one piece, needs no version.
"""

from typing import Final

from hvsim.abi.shared_info import SHARED_INFO, VCPU_INFO

TIME_OFFSET: Final = SHARED_INFO.offsets["vcpu_info"] + VCPU_INFO.offsets["time"]
WALL_CLOCK_OFFSET: Final = SHARED_INFO.offsets["wc_version"]
RUNSTATE_OFFSET: Final = SHARED_INFO.size

BLOCKED_UNTIL_OFFSET: Final = 0
RUNNING: Final = 0
NEVER: Final = 2**64 - 1

TSC_MUL: Final = 1 << 31
TSC_SHIFT: Final = 1
"""``tsc_to_system_mul`` and ``tsc_shift`` of a TSC that counts nanoseconds, as CLOCK_MONOTONIC,
which is ours: (delta << 1) * 2^31 >> 32 is delta."""


def scale(delta: int, mul: int, shift: int) -> int:
    """What pvclock makes of a difference of two readings of the TSC: nanoseconds."""
    shifted = delta << shift if shift >= 0 else delta >> -shift
    return shifted * mul >> 32
