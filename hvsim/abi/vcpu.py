"""Virtual CPUs: commands and the run state record (xen/vcpu.h)."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from hvsim.abi.layout import Layout

VCPUOP_initialise: Final = 0
VCPUOP_up: Final = 1
VCPUOP_down: Final = 2
VCPUOP_is_up: Final = 3
VCPUOP_get_runstate_info: Final = 4
VCPUOP_register_runstate_memory_area: Final = 5
VCPUOP_set_periodic_timer: Final = 6
VCPUOP_stop_periodic_timer: Final = 7
VCPUOP_set_singleshot_timer: Final = 8
VCPUOP_stop_singleshot_timer: Final = 9
VCPUOP_register_vcpu_info: Final = 10

RUNSTATE_running: Final = 0
RUNSTATE_runnable: Final = 1
RUNSTATE_blocked: Final = 2
RUNSTATE_offline: Final = 3

XEN_RUNSTATE_UPDATE: Final = 1 << 63
"""Of ``state_entry_time`` while the record is being written: who sees it reads again."""

VCPU_RUNSTATE_INFO: Final = Layout(
    "struct vcpu_runstate_info", [("state", "i"), ("state_entry_time", "Q"), ("time", "4Q")]
)
SET_SINGLESHOT_TIMER: Final = Layout(
    "struct vcpu_set_singleshot_timer", [("timeout_abs_ns", "Q"), ("flags", "I")]
)


class RunstateInfo(NamedTuple):
    """``vcpu_runstate_info``: what a vCPU does now and has done so far; times in nanoseconds."""

    state: int
    """RUNSTATE_*."""
    state_entry_time: int
    """System time at which ``state`` was entered."""
    time: tuple[int, int, int, int]
    """Time spent in each state, indexed by RUNSTATE_*."""


def pack_runstate(state: int, state_entry_time: int, time: Sequence[int]) -> bytes:
    """The 48 bytes of a ``vcpu_runstate_info``."""
    return VCPU_RUNSTATE_INFO.pack(state, state_entry_time, *time)


def unpack_runstate(data: bytes | memoryview) -> RunstateInfo:
    """The record in the first 48 bytes of ``data``."""
    state, entry, running, runnable, blocked, offline = VCPU_RUNSTATE_INFO.unpack_from(data)
    return RunstateInfo(state, entry, (running, runnable, blocked, offline))
