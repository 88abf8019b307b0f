"""Faults: a signal to a process now, and rules that break something as long as they stand."""

from typing import Any

from hvsim.abi.errno import EINVAL, ENOENT, ESRCH
from hvsim.abi.hypercall import (
    HVSIM_DOMCTL_fault,
    HVSIM_DOMCTL_fault_add,
    HVSIM_DOMCTL_fault_list,
    HVSIM_DOMCTL_fault_remove,
    HVSIM_OP_fault_cover,
    HVSIM_OP_fault_fired,
    HVSIM_OP_faults,
    HYPERVISOR_domctl,
    HYPERVISOR_hvsim_op,
)
from hvsim.hypervisor.calls import Machine, Process, Result, hypercall
from hvsim.hypervisor.ends import SIGKILL
from hvsim.hypervisor.errors import XenError
from hvsim.wire.fault import Rule
from hvsim.wire.typed import BadMessage, read, write

RULES_PER_ANSWER = 8
"""Of 4 KiB at most each, so that an answer stays under 64 KiB."""


@hypercall(HYPERVISOR_domctl, HVSIM_DOMCTL_fault, int, str, str)
def fault(machine: Machine, caller: Process, dom: int, name: str, action: str) -> Result:
    """(dom, process or "", "kill" | "stall" | "resume") -> pid; stall is answered as a pause"""
    machine.privileged(caller)
    domain = machine.domain(dom, caller)
    process = domain.process(name)
    if process is None or not process.pid:
        raise XenError(ENOENT if name else ESRCH, f"d{domain.domid} has no process {name!r}")
    if action not in ("kill", "stall", "resume"):
        raise XenError(EINVAL, f"fault: no action {action!r}")
    machine.ledger.record(
        "fault", domain.domid, f"d{domain.domid} {process.name}: {action}", action=action
    )
    done: Result = (process.pid,)
    if action == "kill":
        process.struck = True
        machine.host.signal(process.token, SIGKILL)
    elif action == "stall":
        done = machine.pauses.stall(process, caller) or done
    else:
        machine.pauses.resume(process)
    return done


@hypercall(HYPERVISOR_domctl, HVSIM_DOMCTL_fault_add, dict)
def fault_add(machine: Machine, caller: Process, raw: dict[str, Any]) -> Result:
    """(rule: ``wire/fault.py``) -> its number"""
    machine.privileged(caller)
    try:
        rule = read(Rule, raw)
    except BadMessage as wrong:
        raise XenError(EINVAL, f"fault: {wrong}") from None
    return (machine.faults.add(rule).rule.number,)


@hypercall(HYPERVISOR_domctl, HVSIM_DOMCTL_fault_remove, int)
def fault_remove(machine: Machine, caller: Process, number: int) -> Result:
    """(number)"""
    machine.privileged(caller)
    machine.faults.remove(number)
    return ()


@hypercall(HYPERVISOR_domctl, HVSIM_DOMCTL_fault_list, int)
def fault_list(machine: Machine, caller: Process, after: int) -> Result:
    """(after number) -> up to 8 of {rule, since, last, placed, trouble}; ask again from the last
    number"""
    machine.privileged(caller)
    later = [one for one in machine.faults.standing() if one.rule.number > after]
    return (
        [
            {
                "rule": write(machine.faults.as_told(one)),
                "since": one.since,
                "last": one.last,
                "placed": one.placed,
                "trouble": one.trouble,
            }
            for one in later[:RULES_PER_ANSWER]
        ],
    )


@hypercall(HYPERVISOR_hvsim_op, HVSIM_OP_faults, int)
def faults(machine: Machine, caller: Process, after: int) -> Result:
    """(after number) -> rules that the calling process is to put in place, up to 8; ask again from
    the last number"""
    return ([write(rule) for rule in machine.faults.of(caller, after, RULES_PER_ANSWER)],)


@hypercall(HYPERVISOR_hvsim_op, HVSIM_OP_fault_fired, int, str)
def fault_fired(machine: Machine, caller: Process, number: int, text: str) -> Result:
    """(number, text): a rule of the calling process has fired, and did that"""
    standing = machine.faults.one_of(caller, number)
    machine.faults.fired(standing, caller.domid, text)
    return ()


@hypercall(HYPERVISOR_hvsim_op, HVSIM_OP_fault_cover, int, bool, str, list)
def fault_cover(
    machine: Machine, caller: Process, number: int, placed: bool, why: str, ports: list[Any]
) -> Result:
    """(number, whether it is in place, why not, ports): a rule of the calling process, and which of
    the domain's event channels it is about, besides those that were named before"""
    standing = machine.faults.one_of(caller, number)
    own = caller.domain.events.of_process(caller.token)
    if any(type(port) is not int or port not in own for port in ports):
        raise XenError(EINVAL, f"fault {number}: ports that are none of {caller.name}")
    if ports:
        if standing.cover is None:
            raise XenError(EINVAL, f"fault {number}: it is about no ports")
        standing.cover(caller, ports)
    machine.faults.placed(standing, caller, "" if placed else why)
    return ()
