"""The small families: sched_op, vcpu_op, console_io, xen_version and hvsim_op."""

import re
from typing import Any, Final

from hvsim.abi.errno import E2BIG, EINVAL, ENOENT
from hvsim.abi.event_channel import VIRQ_CON_RING
from hvsim.abi.hypercall import (
    DOMID_FIRST_RESERVED,
    CONSOLEIO_write,
    HVSIM_OP_event_mode,
    HVSIM_OP_note,
    HVSIM_OP_start_info,
    HYPERVISOR_console_io,
    HYPERVISOR_hvsim_op,
    HYPERVISOR_sched_op,
    HYPERVISOR_vcpu_op,
    HYPERVISOR_xen_version,
    XENVER_extraversion,
    XENVER_guest_handle,
    XENVER_pagesize,
    XENVER_version,
)
from hvsim.abi.memory import PAGE_SIZE
from hvsim.abi.sched import (
    SHUTDOWN_MAX,
    SCHEDOP_remote_shutdown,
    SCHEDOP_shutdown,
    SCHEDOP_watchdog,
)
from hvsim.abi.vcpu import (
    RUNSTATE_blocked,
    RUNSTATE_offline,
    RUNSTATE_running,
    VCPUOP_get_runstate_info,
    pack_runstate,
)
from hvsim.hypervisor.calls import Machine, Process, Result, Steps, hypercall
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.mediation import Policy
from hvsim.hypervisor.report import usage
from hvsim.hypervisor.wires import EVERYONE
from hvsim.wire.packing import ERRORS

XEN_VERSION: Final = (4, 17)
XEN_EXTRAVERSION: Final = ".7-hvsim"
CONSOLE_WRITE_MAX: Final = 8192
_NOTE_KIND: Final = re.compile(r"[a-z]{1,16}\.[a-z-]{1,24}")


@hypercall(HYPERVISOR_sched_op, SCHEDOP_shutdown, int)
def shutdown(machine: Machine, caller: Process, reason: int) -> Result:
    """(reason): the caller's domain stops; it is stopped when its processes have ended"""
    if not 0 <= reason <= SHUTDOWN_MAX:
        raise XenError(EINVAL)
    machine.life.shutdown(caller.domain, reason, True)
    return ()


@hypercall(HYPERVISOR_sched_op, SCHEDOP_remote_shutdown, int, int)
def remote_shutdown(machine: Machine, caller: Process, dom: int, reason: int) -> Result:
    """(dom, reason)"""
    domain = machine.governed(dom, caller)
    if not 0 <= reason <= SHUTDOWN_MAX or domain is caller.domain:
        raise XenError(EINVAL)
    machine.life.shutdown(domain, reason, False)
    return ()


@hypercall(HYPERVISOR_sched_op, SCHEDOP_watchdog, int, int)
def watchdog(machine: Machine, caller: Process, number: int, timeout: int) -> Result:
    """(id, seconds) -> id of a new timer, or 0: the caller's domain ends when it runs out"""
    return (machine.watchdogs.set(caller.domid, number, timeout),)


@hypercall(HYPERVISOR_vcpu_op, VCPUOP_get_runstate_info, int)
def get_runstate_info(machine: Machine, caller: Process, vcpu: int) -> Steps:
    """(vcpu) -> 48 bytes of vcpu_runstate_info

    All work of a domain is on its vCPU 0; the others are offline.
    """
    domain = caller.domain
    if not 0 <= vcpu < domain.max_vcpus:
        raise XenError(ENOENT)
    alive = machine.host.now() - domain.created
    if vcpu:
        return (pack_runstate(RUNSTATE_offline, domain.created, (0, 0, 0, alive)),)
    used, running = yield from usage(machine, domain)
    used = min(used, alive)
    state = RUNSTATE_running if running else RUNSTATE_blocked
    return (pack_runstate(state, domain.created, (used, 0, alive - used, 0)),)


@hypercall(HYPERVISOR_console_io, CONSOLEIO_write, bytes)
def console_write(machine: Machine, caller: Process, data: bytes) -> Steps:
    """(bytes): a line for ``xl dmesg``"""
    if len(data) > CONSOLE_WRITE_MAX:
        raise XenError(E2BIG, f"a console write of {len(data)} bytes")
    whole = yield from machine.console.guest(caller.domid, data, machine.host.now())
    if not whole:
        machine.ledger.refuse(
            "console.suppressed", caller.domid, f"d{caller.domid} writes to the console too fast"
        )
    machine.raise_virq(VIRQ_CON_RING)
    return ()


@hypercall(HYPERVISOR_xen_version, XENVER_version)
def version(machine: Machine, caller: Process) -> Result:
    """() -> major << 16 | minor"""
    return (XEN_VERSION[0] << 16 | XEN_VERSION[1],)


@hypercall(HYPERVISOR_xen_version, XENVER_extraversion)
def extraversion(machine: Machine, caller: Process) -> Result:
    """() -> text"""
    return (XEN_EXTRAVERSION,)


@hypercall(HYPERVISOR_xen_version, XENVER_guest_handle)
def guest_handle(machine: Machine, caller: Process) -> Result:
    """() -> 16 bytes: the caller's own uuid"""
    return (caller.domain.handle,)


@hypercall(HYPERVISOR_xen_version, XENVER_pagesize)
def pagesize(machine: Machine, caller: Process) -> Result:
    """() -> bytes"""
    return (PAGE_SIZE,)


@hypercall(HYPERVISOR_hvsim_op, HVSIM_OP_start_info)
def start_info(machine: Machine, caller: Process) -> Result:
    """() -> map: what the domain is told at birth"""
    domain = caller.domain
    defaults = {
        "flags": 0,
        "store_gfn": 0,
        "store_port": 0,
        "console_gfn": 0,
        "console_port": 0,
        "cmd_line": "",
    }
    own = {
        "domid": domain.domid,
        "nr_pages": domain.memory.nr_pages,
        "max_vcpus": domain.max_vcpus,
    }
    return ({**defaults, **domain.start_info, **own},)


@hypercall(HYPERVISOR_hvsim_op, HVSIM_OP_note, str, int, str)
def note(machine: Machine, caller: Process, kind: str, dom: int, text: str) -> Steps:
    """(kind, dom, text): a decision of a service of dom0, for the ledger and ``xl dmesg``

    *kind* begins with the service's name (``store.quota``), so that it cannot pass for one of the
    hypervisor's own. *dom* is whom it is about, -1 for nobody; it may be gone already.
    """
    machine.privileged(caller)
    if not _NOTE_KIND.fullmatch(kind) or not -1 <= dom < DOMID_FIRST_RESERVED:
        raise XenError(EINVAL, f"note of kind {kind[:40]!r} about {dom}")
    line = text[:CONSOLE_WRITE_MAX]
    machine.ledger.record(kind, dom, line)
    said = f"{kind}: {line}".encode(errors=ERRORS)
    yield from machine.console.guest(caller.domid, said, machine.host.now())
    machine.raise_virq(VIRQ_CON_RING)
    return ()


@hypercall(HYPERVISOR_hvsim_op, HVSIM_OP_event_mode, int, str, dict)
def event_mode(
    machine: Machine, caller: Process, dom: int, mode: str, rule: dict[Any, Any]
) -> Steps:
    """(dom or -1 for all, "direct" | "mediated", rule) -> ports swapped

    Decides for what the domain sends. The rule is as in ``mediation``.
    """
    machine.privileged(caller)
    if dom != EVERYONE:
        dom = machine.domain(dom, caller).domid
    if mode == "mediated":
        machine.wires.set_policy(dom, Policy.parse(rule))
    elif mode == "direct" and not rule:
        machine.wires.set_policy(dom, None)
    else:
        raise XenError(EINVAL, f"event_mode: {mode!r}, rule {rule!r}"[:200])
    machine.ledger.record("event.mode", dom, f"events of {'all' if dom < 0 else f'd{dom}'}: {mode}")
    swapped = yield from machine.resettle()
    return (swapped,)
