"""Lockstep: a process waits for its turn, and who is outside lets time go on.

In a lab that is in none all of it is refused with -ENOSYS.
"""

from typing import Final

from hvsim.abi.errno import EINVAL, ENOSYS
from hvsim.abi.hypercall import (
    HVSIM_OP_park,
    HVSIM_SYSCTL_advance,
    HVSIM_SYSCTL_tape,
    HYPERVISOR_hvsim_op,
    HYPERVISOR_sysctl,
)
from hvsim.hypervisor.calls import Machine, Process, Result, hypercall
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.late import DEFERRED
from hvsim.hypervisor.lockstep.port import Lockstep

MAX_ADVANCE: Final = 1 << 62
"""Nanoseconds."""
TAPE_PART: Final = 2048
"""Choices of which one call tells."""


@hypercall(HYPERVISOR_hvsim_op, HVSIM_OP_park, int)
def park(machine: Machine, caller: Process, until: int) -> Result:
    """(system time, -1: never) -> nothing, when the caller has its turn again"""
    _lockstep(machine).park(caller, until)
    return DEFERRED


@hypercall(HYPERVISOR_sysctl, HVSIM_SYSCTL_advance, int, bool)
def advance(machine: Machine, caller: Process, by: int, quiet: bool) -> Result:
    """(nanoseconds, quiet) -> [now, when something happens next by itself (-1: never), quiet] when
    time has gone on so far, or, if that is asked for, nothing can happen before it does"""
    machine.privileged(caller)
    if not 0 <= by <= MAX_ADVANCE:
        raise XenError(EINVAL, f"lockstep: time cannot go on by {by}")
    _lockstep(machine).open_gate(caller, by, quiet)
    return DEFERRED


@hypercall(HYPERVISOR_sysctl, HVSIM_SYSCTL_tape, int)
def tape(machine: Machine, caller: Process, start: int) -> Result:
    """(number of a choice) -> [how many choices there were, number of the first that is not told
    of here, [[number, which], ...] where it was not the first option]"""
    machine.privileged(caller)
    if start < 0:
        raise XenError(EINVAL, f"lockstep: no choice has the number {start}")
    made, part = _lockstep(machine).tape(start, TAPE_PART)
    return ((made, min(made, start + TAPE_PART), list(part.items())),)


def _lockstep(machine: Machine) -> Lockstep:
    if machine.lockstep is None:
        raise XenError(ENOSYS, "the lab is not in lockstep")
    return machine.lockstep
