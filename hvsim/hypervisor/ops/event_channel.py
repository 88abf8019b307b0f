"""event_channel_op (xen/event_channel.h)."""

from typing import Final

from hvsim.abi.errno import EINVAL, EPERM
from hvsim.abi.event_channel import (
    DOM0_VIRQS,
    EVTCHNOP_alloc_unbound,
    EVTCHNOP_bind_interdomain,
    EVTCHNOP_bind_virq,
    EVTCHNOP_close,
    EVTCHNOP_send,
    EVTCHNOP_status,
    EVTCHNOP_unmask,
    EVTCHNSTAT_virq,
)
from hvsim.abi.hypercall import (
    DOMID_FIRST_RESERVED,
    DOMID_SELF,
    HVSIM_EVTCHN_fetch,
    HVSIM_EVTCHN_mask,
    HYPERVISOR_event_channel_op,
)
from hvsim.hypervisor.calls import Answer, Machine, Process, Result, hypercall
from hvsim.hypervisor.domains import ALIVE, Domain
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.events import Port
from hvsim.hypervisor.host import Held

_OP: Final = HYPERVISOR_event_channel_op
PORTS_PER_FETCH: Final = 64
"""Two descriptors each: half of what a message carries, since each is made for it."""


def _bells(port: Port) -> list[Held]:
    return [bell for bell in (port.rx, port.given_tx) if bell is not None]


def _own_port(caller: Process, number: int) -> Port:
    """An open port of this very process. Raises XenError(EINVAL)."""
    port = caller.domain.events.port(number)
    if port.token != caller.token:
        raise XenError(EINVAL, f"port {number} is another process's")
    return port


@hypercall(_OP, EVTCHNOP_alloc_unbound, int, int)
def alloc_unbound(machine: Machine, caller: Process, dom: int, remote: int) -> Result:
    """(dom, remote_dom) -> port, which has no descriptors before it is bound."""
    if remote == DOMID_SELF:
        remote = caller.domid
    if not 0 <= remote < DOMID_FIRST_RESERVED:
        raise XenError(EINVAL)
    own = dom in (DOMID_SELF, caller.domid)
    domain = caller.domain if own else machine.governed(dom, caller)
    if domain.dying != ALIVE:
        raise XenError(EINVAL)
    main = domain.main
    token = caller.token if own else main.token if main is not None else None
    # Who names its own domain by number learns of the port as of one that others made.
    port = machine.open_port(domain.events.alloc_unbound(remote, token), dom == DOMID_SELF)
    _note(machine, domain, port, f"unbound, waits for d{remote}")
    return (port.number,)


@hypercall(_OP, EVTCHNOP_bind_interdomain, int, int)
def bind_interdomain(machine: Machine, caller: Process, remote: int, number: int) -> Result:
    """(remote_dom, remote_port) -> local port, with [rx, tx]."""
    other = machine.domain(remote, caller)
    if other.dying != ALIVE:
        raise XenError(EINVAL)
    port = caller.domain.events.bind_interdomain(other.events, number, caller.token)
    machine.open_port(port, True)
    if port.peer is not None and not port.peer.delivered:
        machine.wired(port.peer)
    text = f"bound to d{other.domid} port {number}"
    _note(machine, caller.domain, port, text, remote=other.domid, remote_port=number)
    return Answer((port.number,), _bells(port))


@hypercall(_OP, EVTCHNOP_bind_virq, int, int)
def bind_virq(machine: Machine, caller: Process, virq: int, vcpu: int) -> Result:
    """(virq, vcpu) -> port, with [rx]."""
    if virq in DOM0_VIRQS and not caller.domain.privileged:
        raise XenError(EPERM, f"VIRQ {virq} is dom0's")
    port = caller.domain.events.bind_virq(virq, vcpu, caller.token)
    _note(machine, caller.domain, port, f"bound to VIRQ {virq}")
    return Answer((port.number,), _bells(port))


@hypercall(_OP, EVTCHNOP_close, int)
def close(machine: Machine, caller: Process, number: int) -> Result:
    """(port)"""
    port = _own_port(caller, number)
    machine.close_port(caller.domain, number)
    _note(machine, caller.domain, port, "closed")
    return ()


@hypercall(_OP, EVTCHNOP_send, int)
def send(machine: Machine, caller: Process, number: int) -> Result:
    """(port): ring the peer through the hypervisor; an unbound port rings nobody."""
    port = caller.domain.events.port(number)
    if port.state == EVTCHNSTAT_virq:
        raise XenError(EINVAL)
    machine.wires.send(port)
    return ()


@hypercall(_OP, EVTCHNOP_status, int, int)
def status(machine: Machine, caller: Process, dom: int, number: int) -> Result:
    """(dom, port) -> {status, vcpu, remote_dom, remote_port, virq}; a port that is not open is
    closed, and -EINVAL only past the table's end, where a walk through all ports ends"""
    own = dom in (DOMID_SELF, caller.domid)
    domain = caller.domain if own else machine.governed(dom, caller)
    return (domain.events.status(number),)


@hypercall(_OP, EVTCHNOP_unmask, int)
def unmask(machine: Machine, caller: Process, number: int) -> Result:
    """(port)"""
    _own_port(caller, number)
    caller.domain.events.unmask(number)
    return ()


@hypercall(_OP, HVSIM_EVTCHN_mask, int)
def mask(machine: Machine, caller: Process, number: int) -> Result:
    """(port)"""
    _own_port(caller, number)
    caller.domain.events.mask(number)
    return ()


@hypercall(_OP, HVSIM_EVTCHN_fetch)
def fetch(machine: Machine, caller: Process) -> Result:
    """() -> [[port, status, count], ...], with [rx, tx] for each that has a wire (count 2); call
    again while the upcall rings. And True, when there is news for HVSIM_OP_faults.
    """
    rows: list[list[int]] = []
    bells: list[Held] = []
    for port in caller.domain.events.of_process(caller.token).values():
        if port.delivered:
            continue
        if len(rows) == PORTS_PER_FETCH:
            caller.upcall.ring()
            break
        machine.wires.fetched(port)
        given = _bells(port)
        rows.append([port.number, port.state, len(given)])
        bells += given
    return Answer((rows, True) if machine.faults.news(caller) else (rows,), bells)


def _note(machine: Machine, domain: Domain, port: Port, text: str, **more: int) -> None:
    machine.ledger.refuse(
        "event.port",
        domain.domid,
        f"d{domain.domid} port {port.number}: {text}",
        port=port.number,
        **more,
    )
