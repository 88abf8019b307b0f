"""domctl (xen/domctl.h): building, ending and watching domains.

Only dom0 builds and destroys. A domain that holds rights over one other (``set_target``) may
pause, unpause, look at and peek into that one.
"""

from typing import Final

from hvsim.abi.cpumask import numbers
from hvsim.abi.domctl import (
    XEN_DOMCTL_SENDTRIGGER_NMI,
    XEN_DOMCTL_SENDTRIGGER_POWER,
    XEN_DOMCTL_SENDTRIGGER_SLEEP,
    XEN_VCPUAFFINITY_HARD,
    XEN_VCPUAFFINITY_SOFT,
    XEN_DOMCTL_createdomain,
    XEN_DOMCTL_destroydomain,
    XEN_DOMCTL_getdomaininfo,
    XEN_DOMCTL_getvcpuaffinity,
    XEN_DOMCTL_max_mem,
    XEN_DOMCTL_pausedomain,
    XEN_DOMCTL_sendtrigger,
    XEN_DOMCTL_setvcpuaffinity,
    XEN_DOMCTL_unpausedomain,
)
from hvsim.abi.errno import E2BIG, EBUSY, EINVAL, ENOSYS, ESRCH
from hvsim.abi.hypercall import (
    DOMID_FIRST_RESERVED,
    XEN_LEGACY_MAX_VCPUS,
    HVSIM_DOMCTL_gnttab_seed,
    HVSIM_DOMCTL_load,
    HVSIM_DOMCTL_peek,
    HVSIM_DOMCTL_populate,
    HVSIM_DOMCTL_set_start_info,
    HVSIM_DOMCTL_set_target,
    HVSIM_DOMCTL_spawn,
    HYPERVISOR_domctl,
)
from hvsim.abi.memory import PAGE_SIZE
from hvsim.abi.sched import NMI_SIGNAL
from hvsim.hypervisor.calls import Machine, Process, Result, Steps, hypercall
from hvsim.hypervisor.domains import Domain
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.report import domain_info
from hvsim.wire.packing import pack
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import BadMessage, read

_OP: Final = HYPERVISOR_domctl
MAX_PAGES: Final = 1 << 32
MAX_CPUS: Final = 1024
"""CPUs that a mask may name."""
START_INFO_KEYS: Final = 256
START_INFO_MAX: Final = 16384
"""Bytes, packed, of all that a domain is told at birth."""


def _other(machine: Machine, caller: Process, dom: int) -> Domain:
    """Any domain, for dom0 only. Raises XenError: EPERM, ESRCH."""
    machine.privileged(caller)
    return machine.domain(dom, caller)


@hypercall(_OP, XEN_DOMCTL_createdomain, dict)
def createdomain(machine: Machine, caller: Process, config: dict[object, object]) -> Result:
    """({handle: 16 bytes, max_vcpus, online_vcpus, max_pages, flags, domid: 0 for the next})
    -> domid"""
    machine.privileged(caller)
    handle = config.get("handle", bytes(16))
    vcpus, pages = config.get("max_vcpus", 1), config.get("max_pages", 0)
    flags = config.get("flags", 0)
    if type(handle) is not bytes or len(handle) != 16:
        raise XenError(EINVAL, "createdomain: handle is no 16 bytes")
    if type(vcpus) is not int or not 1 <= vcpus <= XEN_LEGACY_MAX_VCPUS:
        raise XenError(EINVAL, "createdomain: max_vcpus is out of range")
    if type(pages) is not int or not 0 <= pages < MAX_PAGES or type(flags) is not int:
        raise XenError(EINVAL, "createdomain: max_pages or flags")
    online = config.get("online_vcpus", vcpus)
    if type(online) is not int or not 1 <= online <= vcpus:
        raise XenError(EINVAL, "createdomain: online_vcpus is out of range")
    wanted = config.get("domid", 0)
    if type(wanted) is not int or not 0 <= wanted < DOMID_FIRST_RESERVED:
        raise XenError(EINVAL, "createdomain: domid is out of range")
    domain = machine.create_domain(handle, vcpus, pages, flags, wanted)
    domain.online_vcpus = online
    return (domain.domid,)


@hypercall(_OP, XEN_DOMCTL_destroydomain, int)
def destroydomain(machine: Machine, caller: Process, dom: int) -> Result:
    """(dom): answered when its processes are gone; -EAGAIN when that takes too long."""
    return machine.ends.destroy(_other(machine, caller, dom), caller) or ()


@hypercall(_OP, XEN_DOMCTL_pausedomain, int)
def pausedomain(machine: Machine, caller: Process, dom: int) -> Result:
    """(dom): counted; answered when nothing of it runs; -EAGAIN when that takes too long"""
    domain = machine.governed(dom, caller)
    if domain is caller.domain:
        raise XenError(EINVAL)
    return machine.pauses.pause(domain, caller) or ()


@hypercall(_OP, XEN_DOMCTL_unpausedomain, int)
def unpausedomain(machine: Machine, caller: Process, dom: int) -> Result:
    """(dom): counted; at 0 a loaded domain starts"""
    domain = machine.governed(dom, caller)
    if domain is caller.domain:
        raise XenError(EINVAL)
    machine.births.unpause(domain)
    return ()


@hypercall(_OP, XEN_DOMCTL_getdomaininfo, int)
def getdomaininfo(machine: Machine, caller: Process, dom: int) -> Steps:
    """(dom) -> a map, see ``report.domain_info``"""
    info = yield from domain_info(machine, machine.governed(dom, caller))
    return (info,)


@hypercall(_OP, XEN_DOMCTL_max_mem, int, int)
def max_mem(machine: Machine, caller: Process, dom: int, pages: int) -> Result:
    """(dom, pages)"""
    domain = _other(machine, caller, dom)
    if not 0 <= pages < MAX_PAGES:
        raise XenError(EINVAL)
    domain.max_pages = pages
    return ()


@hypercall(_OP, XEN_DOMCTL_setvcpuaffinity, int, int, int, list, list)
def setvcpuaffinity(
    machine: Machine,
    caller: Process,
    dom: int,
    vcpu: int,
    flags: int,
    hard: list[object],
    soft: list[object],
) -> Steps:
    """(dom, vcpu, XEN_VCPUAFFINITY_*, CPUs, CPUs) -> CPUs in effect, twice"""
    domain = _other(machine, caller, dom)
    wanted = [
        _mask(cpus) if flags & flag else None
        for flag, cpus in ((XEN_VCPUAFFINITY_HARD, hard), (XEN_VCPUAFFINITY_SOFT, soft))
    ]
    found = domain.affinity.set(vcpu, *wanted)
    yield from machine.births.place(domain)
    return tuple(numbers(mask) for mask in found)


@hypercall(_OP, XEN_DOMCTL_getvcpuaffinity, int, int)
def getvcpuaffinity(machine: Machine, caller: Process, dom: int, vcpu: int) -> Result:
    """(dom, vcpu) -> CPUs of the hard affinity, of the soft one"""
    domain = machine.governed(dom, caller)
    return tuple(numbers(mask) for mask in domain.affinity.get(vcpu))


def _mask(cpus: list[object]) -> int:
    """Raises: XenError(EINVAL)."""
    mask = 0
    if len(cpus) > MAX_CPUS:
        raise XenError(EINVAL, "an affinity is a list of CPUs")
    for cpu in cpus:
        if type(cpu) is not int or not 0 <= cpu < MAX_CPUS:
            raise XenError(EINVAL, "an affinity is a list of CPUs")
        mask |= 1 << cpu
    return mask


@hypercall(_OP, XEN_DOMCTL_sendtrigger, int, int, int)
def sendtrigger(machine: Machine, caller: Process, dom: int, trigger: int, vcpu: int) -> Result:
    """(dom, XEN_DOMCTL_SENDTRIGGER_*, vcpu): what a PV guest knows is the NMI

    The buttons of a machine are an HVM guest's: -EINVAL, as Xen says of a PV one.
    """
    domain = machine.governed(dom, caller)
    if not 0 <= vcpu < domain.max_vcpus:
        raise XenError(ESRCH)
    if trigger in (XEN_DOMCTL_SENDTRIGGER_POWER, XEN_DOMCTL_SENDTRIGGER_SLEEP):
        raise XenError(EINVAL)
    if trigger != XEN_DOMCTL_SENDTRIGGER_NMI:
        raise XenError(ENOSYS)
    main = domain.main
    if main is None or not main.pid or domain.privileged:
        raise XenError(ESRCH, f"d{domain.domid} has no vCPU that takes an NMI")
    machine.host.signal(main.token, NMI_SIGNAL)
    return ()


@hypercall(_OP, HVSIM_DOMCTL_populate, int, int)
def populate(machine: Machine, caller: Process, dom: int, pages: int) -> Steps:
    """(dom, pages) -> {store_gfn, console_gfn}"""
    frames = yield from machine.populate(_other(machine, caller, dom), pages)
    return (frames,)


@hypercall(_OP, HVSIM_DOMCTL_gnttab_seed, int, int, int, int)
def gnttab_seed(
    machine: Machine, caller: Process, dom: int, ref: int, remote: int, gfn: int
) -> Result:
    """(dom, ref, remote, gfn)"""
    machine.seed_grant(_other(machine, caller, dom), ref, remote, gfn)
    return ()


@hypercall(_OP, HVSIM_DOMCTL_set_start_info, int, dict)
def set_start_info(
    machine: Machine, caller: Process, dom: int, info: dict[object, object]
) -> Result:
    """(dom, map): what the domain is told at birth; keys add up"""
    domain = _other(machine, caller, dom)
    told = dict(domain.start_info)
    for key, value in info.items():
        if type(key) is not str:
            raise XenError(EINVAL)
        told[key] = value
    if len(told) > START_INFO_KEYS or len(pack(told)) > START_INFO_MAX:
        raise XenError(E2BIG, f"start info over {START_INFO_KEYS} keys or {START_INFO_MAX} bytes")
    domain.start_info = told
    return ()


@hypercall(_OP, HVSIM_DOMCTL_load, int, dict)
def load(machine: Machine, caller: Process, dom: int, spec: dict[object, object]) -> Result:
    """(dom, spec): how its main process is made, at the first unpause"""
    machine.births.load(_other(machine, caller, dom), _spec(spec))
    return ()


@hypercall(_OP, HVSIM_DOMCTL_set_target, int, int)
def set_target(machine: Machine, caller: Process, dom: int, target: int) -> Result:
    """(dom, target): dom gets rights over target; -EINVAL when it has a target already"""
    machine.set_target(_other(machine, caller, dom), _other(machine, caller, target))
    return ()


@hypercall(_OP, HVSIM_DOMCTL_spawn, int, dict)
def spawn(machine: Machine, caller: Process, dom: int, spec: dict[object, object]) -> Result:
    """(dom, spec): one more process in a domain that runs"""
    domain = _other(machine, caller, dom)
    if not domain.started:
        raise XenError(EBUSY, f"d{domain.domid} has not started")
    machine.faults.spawned(machine.births.spawn(domain, _spec(spec), False))
    return ()


def _spec(raw: dict[object, object]) -> Spawn:
    try:
        return read(Spawn, raw)
    except BadMessage as wrong:
        raise XenError(EINVAL, f"spawn: {wrong}") from None


@hypercall(_OP, HVSIM_DOMCTL_peek, int, int, int, int)
def peek(machine: Machine, caller: Process, dom: int, ref: int, offset: int, size: int) -> Result:
    """(dom, ref, offset, length) -> bytes of a page that is granted to anybody, or mapped"""
    domain = machine.governed(dom, caller)
    if not (offset >= 0 and size >= 0 and offset + size <= PAGE_SIZE):
        raise XenError(EINVAL)
    active = domain.grants.active.get(ref)
    gfn = active.gfn if active is not None else domain.grants.frame(ref)
    extent = domain.memory.extent_at(gfn) if gfn is not None else None
    if gfn is None or extent is None:
        raise XenError(EINVAL)
    return (extent.memory.read((gfn - extent.base_gfn) * PAGE_SIZE + offset, size),)
