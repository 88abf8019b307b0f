"""vcpu_op (xen/vcpu.h), and what domctl says of a vCPU."""

from hvsim.abi.domctl import XEN_DOMCTL_getvcpuinfo
from hvsim.abi.errno import ENOENT, ESRCH
from hvsim.abi.hypercall import HYPERVISOR_domctl, HYPERVISOR_vcpu_op
from hvsim.abi.vcpu import (
    RUNSTATE_blocked,
    RUNSTATE_running,
    VCPUOP_get_runstate_info,
    pack_runstate,
)
from hvsim.hypervisor import runstates
from hvsim.hypervisor.calls import Machine, Process, Steps, hypercall
from hvsim.hypervisor.errors import XenError
from hvsim.wire.answers import VcpuInfo


@hypercall(HYPERVISOR_vcpu_op, VCPUOP_get_runstate_info, int)
def get_runstate_info(machine: Machine, caller: Process, vcpu: int) -> Steps:
    """(vcpu) -> 48 bytes of vcpu_runstate_info, of a vCPU of the caller's domain"""
    domain = caller.domain
    if not 0 <= vcpu < domain.max_vcpus:
        raise XenError(ENOENT)
    info = yield from runstates.of_vcpu(machine.host, domain, vcpu)
    return (pack_runstate(*info),)


@hypercall(HYPERVISOR_domctl, XEN_DOMCTL_getvcpuinfo, int, int)
def getvcpuinfo(machine: Machine, caller: Process, dom: int, vcpu: int) -> Steps:
    """(dom, vcpu) -> {online, blocked, running, cpu_time, cpu}, as in xen_domctl_getvcpuinfo, and
    {state_entry_time, time, deadline}: its run states, and until when it says it is blocked

    A vCPU that is not up, or whose domain has stopped, is neither blocked nor running.
    """
    domain = machine.governed(dom, caller)
    if not 0 <= vcpu < domain.max_vcpus:
        raise XenError(ESRCH)
    info = yield from runstates.of_vcpu(machine.host, domain, vcpu)
    cpu = 0 if vcpu else runstates.processor(machine.host, domain, machine.cpus)
    answer: VcpuInfo = {
        "online": vcpu < domain.online_vcpus,
        "blocked": info.state == RUNSTATE_blocked,
        "running": info.state == RUNSTATE_running,
        "cpu_time": info.time[RUNSTATE_running],
        "cpu": cpu,
        "state_entry_time": info.state_entry_time,
        "time": list(info.time),
        "deadline": domain.vcpus[vcpu].deadline,
    }
    return (answer,)
