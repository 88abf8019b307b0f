"""Everything that a running lab consists of, as one value: what `hvsim ps` shows."""

from typing import Any

from hvsim.lab.control import Control
from hvsim.lab.processes import read_stat
from hvsim.lab.rundir import RunDir
from hvsim.observe.waits import stalled, waits


def household(run: RunDir, control: Control) -> dict[str, Any]:
    """{lab, processes, domains, waits} of the lab at `run`, asked from its toolstack.

    `processes` has the hypervisor and every program of dom0 with role and pid; `domains` has
    one row for each domain with domid, name, role, pid, state, devices and `walls`, those that
    this machine does not allow (the trusted have none to be missed); `waits` says which
    device waits for whom; `lost`, when it says something, why there is no store any more.
    """
    data = control.data("ps") or {}
    domains = [dict(row) for row in data.get("domains", [])]
    listed = [dict(row) for row in data.get("processes", [])]
    hypervisor = run.hypervisor
    processes: list[dict[str, Any]] = [
        {
            "name": "hypervisor",
            "role": "hypervisor",
            "domid": None,
            "pid": hypervisor.pid if hypervisor else None,
            "walls": [],
        }
    ]
    processes += [
        {
            "name": row.get("process") or "Domain-0",
            "role": "dom0",
            "domid": 0,
            "pid": row.get("pid"),
            "walls": [],
        }
        for row in listed
        if row.get("domid") == 0 and row.get("alive", True)
    ]
    states = {}
    for row in [*domains, *processes]:
        pid = row.get("pid")
        stat = read_stat(pid) if isinstance(pid, int) else None
        if stat is not None and isinstance(pid, int):
            states[pid] = stat.state
    for row in [*domains, *processes]:
        row["stalled"] = stalled(row, states)
    return {
        "lab": run.name,
        "processes": processes,
        "domains": domains,
        "waits": waits(domains, states),
        "lost": data.get("lost") or "",
    }
