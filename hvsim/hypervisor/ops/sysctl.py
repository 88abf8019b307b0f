"""sysctl (xen/sysctl.h): the machine as a whole, for dom0."""

from typing import Final

from hvsim.abi.domctl import (
    XEN_SYSCTL_debug_keys,
    XEN_SYSCTL_getdomaininfolist,
    XEN_SYSCTL_physinfo,
    XEN_SYSCTL_readconsole,
)
from hvsim.abi.errno import EBUSY, EINVAL, EOPNOTSUPP
from hvsim.abi.hypercall import (
    MESSAGE_MAX,
    HVSIM_SYSCTL_ledger,
    HVSIM_SYSCTL_ledger_news,
    HVSIM_SYSCTL_processes,
    HYPERVISOR_sysctl,
)
from hvsim.hypervisor.calls import Machine, Process, Result, Steps, hypercall
from hvsim.hypervisor.debug_keys import KEYS
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.late import DEFERRED
from hvsim.hypervisor.ledger import Record
from hvsim.hypervisor.report import domain_info, process_list
from hvsim.hypervisor.runstates import LOOKS
from hvsim.hypervisor.work import pieces
from hvsim.wire.answers import DomainInfo, MachineInfo
from hvsim.wire.packing import ERRORS, pack

_OP: Final = HYPERVISOR_sysctl
MAX_LIST: Final = 200
"""Domains in one answer, so that it stays under 64 KiB."""
MAX_RECORDS: Final = 1024
MAX_KEYS: Final = 16
"""Debug keys of one call."""
_TEXT_MAX: Final = MESSAGE_MAX - 1024


@hypercall(_OP, XEN_SYSCTL_getdomaininfolist, int, int)
def getdomaininfolist(machine: Machine, caller: Process, first: int, count: int) -> Steps:
    """(first domid, most) -> list of maps, ascending; ask again from the last domid + 1"""
    machine.privileged(caller)
    if count < 0:
        raise XenError(EINVAL)
    domids = sorted(domid for domid in machine.domains if domid >= first)
    chosen = domids[: min(count, MAX_LIST)]
    rows: list[DomainInfo] = []
    for number, domid in enumerate(chosen):
        if number and number % LOOKS == 0:
            yield
        domain = machine.domains.get(domid)
        if domain is not None:  # it may have gone meanwhile
            rows.append((yield from domain_info(machine, domain)))
    return (rows,)


@hypercall(_OP, XEN_SYSCTL_physinfo)
def physinfo(machine: Machine, caller: Process) -> Result:
    """() -> map: the machine's size and what is free, in pages"""
    machine.privileged(caller)
    heap = machine.heap
    info: MachineInfo = {
        "nr_cpus": machine.cpus,
        "threads_per_core": 1,
        "cores_per_socket": machine.cpus,
        "nr_nodes": heap.nodes,
        "total_pages": heap.total,
        "free_pages": heap.free,
        "scrub_pages": heap.dirty,
        "outstanding_pages": 0,
        "node_free_pages": [heap.free_on(node) for node in range(heap.nodes)],
        "nr_domains": len(machine.domains),
        "ledger_seq": machine.ledger.seq,
        "counters": dict(machine.ledger.counters),
        "pids": machine.host.pids(),
    }
    return (info,)


@hypercall(_OP, XEN_SYSCTL_readconsole, bool)
def readconsole(machine: Machine, caller: Process, clear: bool) -> Result:
    """(clear) -> text of the console ring, its newest part"""
    machine.privileged(caller)
    text = machine.console.read(clear)
    data = text.encode(errors=ERRORS)
    if len(data) > _TEXT_MAX:
        text = data[-_TEXT_MAX:].decode("utf-8", "ignore").partition("\n")[2]
    return (text,)


@hypercall(_OP, XEN_SYSCTL_debug_keys, str)
def debug_keys(machine: Machine, caller: Process, keys: str) -> Result:
    """(keys): print what each asks for; answered when it is on the console

    -EOPNOTSUPP for a key of whose subject there is nothing here (Xen says success, and prints
    nothing).
    """
    machine.privileged(caller)
    if not 0 < len(keys) <= MAX_KEYS:
        raise XenError(EINVAL)
    for key in keys:
        if key not in KEYS:
            raise XenError(EOPNOTSUPP, f"debug key {key!r}; there are {''.join(sorted(KEYS))}")
    if machine.dumps.full:
        raise XenError(EBUSY)
    address = caller.address
    machine.dumps.start(keys, lambda: machine.host.reply(address, [0]))
    return DEFERRED


@hypercall(_OP, HVSIM_SYSCTL_ledger, int, int)
def ledger(machine: Machine, caller: Process, after: int, count: int) -> Steps:
    """(after seq, most) -> records, oldest first; ask again from the last seq"""
    machine.privileged(caller)
    if count < 0:
        raise XenError(EINVAL)
    chosen: list[Record] = []
    size = 0
    for pause, piece in pieces(machine.ledger.after(after, min(count, MAX_RECORDS))):
        if pause:
            yield
        for record in piece:
            size += len(pack(record))
            if size > _TEXT_MAX:
                return (chosen,)
            chosen.append(record)
    return (chosen,)


@hypercall(_OP, HVSIM_SYSCTL_ledger_news, int)
def ledger_news(machine: Machine, caller: Process, after: int) -> Result:
    """(after seq): answered when there is a later record, for who follows the ledger: he is told
    once, and reads as fast as he likes"""
    machine.privileged(caller)
    if machine.ledger.seq > after:
        return ()
    address = caller.address
    machine.ledger.wait(after, lambda: machine.host.reply(address, [0]))
    return DEFERRED


@hypercall(_OP, HVSIM_SYSCTL_processes)
def processes(machine: Machine, caller: Process) -> Steps:
    """() -> list of {domid, process, pid, missing, failure, alive, gone, stalled, slowed, struck,
    status}"""
    machine.privileged(caller)
    rows = yield from process_list(machine)
    return (rows,)
