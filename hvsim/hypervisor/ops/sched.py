"""sched_op (xen/sched.h): how a domain stops, by itself or by its watchdog."""

from hvsim.abi.errno import EINVAL
from hvsim.abi.hypercall import HYPERVISOR_sched_op
from hvsim.abi.sched import (
    SHUTDOWN_MAX,
    SCHEDOP_remote_shutdown,
    SCHEDOP_shutdown,
    SCHEDOP_watchdog,
)
from hvsim.hypervisor.calls import Machine, Process, Result, hypercall
from hvsim.hypervisor.errors import XenError


@hypercall(HYPERVISOR_sched_op, SCHEDOP_shutdown, int)
def shutdown(machine: Machine, caller: Process, reason: int) -> Result:
    """(reason): the caller's domain stops; it is stopped when its processes have ended"""
    if not 0 <= reason <= SHUTDOWN_MAX:
        raise XenError(EINVAL)
    machine.ends.shutdown(caller.domain, reason, True)
    return ()


@hypercall(HYPERVISOR_sched_op, SCHEDOP_remote_shutdown, int, int)
def remote_shutdown(machine: Machine, caller: Process, dom: int, reason: int) -> Result:
    """(dom, reason)"""
    domain = machine.governed(dom, caller)
    if not 0 <= reason <= SHUTDOWN_MAX or domain is caller.domain:
        raise XenError(EINVAL)
    machine.ends.shutdown(domain, reason, False)
    return ()


@hypercall(HYPERVISOR_sched_op, SCHEDOP_watchdog, int, int)
def watchdog(machine: Machine, caller: Process, number: int, timeout: int) -> Result:
    """(id, seconds) -> id of a new timer, or 0: the caller's domain ends when it runs out"""
    return (machine.watchdogs.set(caller.domid, number, timeout),)
