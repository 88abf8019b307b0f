"""What a domain holds here: its event channels, and its pages that others have mapped.

For people who look at a host, as debug keys e and g print it; here it is data.
"""

from itertools import islice
from typing import Final

from hvsim.abi.errno import ESRCH
from hvsim.abi.event_channel import EVTCHNSTAT_interdomain, EVTCHNSTAT_unbound, EVTCHNSTAT_virq
from hvsim.abi.hypercall import HVSIM_SYSCTL_holdings, HYPERVISOR_sysctl
from hvsim.hypervisor.calls import Machine, Process, Steps, hypercall
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.events import Port
from hvsim.hypervisor.work import pieces
from hvsim.wire.picture import GrantRow, HoldingsRow, PortRow

MAX_ROWS: Final = 400
"""Ports, and grants, in one answer, so that it stays under 64 KiB."""
_STATUS: Final = {
    EVTCHNSTAT_unbound: "unbound",
    EVTCHNSTAT_interdomain: "interdomain",
    EVTCHNSTAT_virq: "virq",
}


@hypercall(HYPERVISOR_sysctl, HVSIM_SYSCTL_holdings, int)
def holdings(machine: Machine, caller: Process, domid: int) -> Steps:
    """(domid) -> map: `wire/picture.py`, HoldingsRow; -ESRCH for a domain that is not there"""
    machine.privileged(caller)
    domain = machine.domains.get(domid)
    if domain is None:
        raise XenError(ESRCH)
    row: HoldingsRow = {
        "domid": domid,
        "ports": [],
        "grants": [],
        "mapped": len(domain.maptrack.mappings),
        "users": 0,
    }
    for pause, numbers in pieces(sorted(islice(domain.events.ports, MAX_ROWS))):
        if pause:
            yield
        ports = (domain.events.ports.get(number) for number in numbers)
        row["ports"] += [_port(port) for port in ports if port is not None]
    for pause, actives in pieces(list(domain.grants.active.values())):
        if pause:
            yield
        row["users"] += sum(one.readers + one.writers for one in actives)
    for pause, refs in pieces(sorted(islice(domain.grants.active, MAX_ROWS))):
        if pause:
            yield
        for ref in refs:
            active = domain.grants.active.get(ref)
            if active is not None:
                grant = GrantRow(
                    ref=ref,
                    peer=active.peer,
                    gfn=active.gfn,
                    readers=active.readers,
                    writers=active.writers,
                )
                row["grants"].append(grant)
    return (row,)


def _port(port: Port) -> PortRow:
    return {
        "port": port.number,
        "status": _STATUS[port.state],
        "remote": port.remote if port.remote >= 0 else None,
        "remote_port": port.peer.number if port.peer is not None else None,
        "virq": port.virq if port.virq >= 0 else None,
        "pending": port.pending,
        "masked": port.masked,
    }
