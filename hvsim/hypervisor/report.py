"""What the hypervisor tells of domains and processes: getdomaininfo, and the list of processes."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hvsim.abi.sched import SHUTDOWN_crash
from hvsim.hypervisor.domains import ALIVE, Domain, Process
from hvsim.hypervisor.machine import Machine


def how_it_ended(status: int) -> str:
    """The end of a process in words, from waitpid's status."""
    if os.WIFSIGNALED(status):
        return f"killed by signal {os.WTERMSIG(status)}"
    return f"exit status {os.waitstatus_to_exitcode(status)}"


def obituary(why: str, fallen: Process | None) -> str:
    """Why a machine has ended; *fallen*: the process of dom0 that took it along, if one did."""
    if fallen is None:
        return why
    how = "it has ended" if fallen.status is None else how_it_ended(fallen.status)
    return f"dom0's {fallen.name} (pid {fallen.pid}): {how}; {why}"


def leave_evidence(folder: Path, machine: Machine) -> None:
    """Write the ledger (a JSON object a line) and the console into *folder*, of a machine that
    falls.  What a full disk does not take is lost."""
    records = machine.ledger.after(0, machine.ledger.seq)
    lines = "".join(f"{json.dumps(record, default=repr)}\n" for record in records)
    with contextlib.suppress(OSError):
        (folder / "ledger.log").write_text(lines, "utf-8")
        (folder / "dmesg.log").write_text(machine.console.read(False), "utf-8", "replace")


def domain_cpu_time(machine: Machine, domain: Domain) -> int:
    """Nanoseconds that the domain's processes have used, the gone ones included."""
    alive = (machine.host.cpu_time(token) or 0 for token in domain.processes)
    return domain.cpu_time + sum(alive)


def domain_info(machine: Machine, domain: Domain) -> dict[str, Any]:
    """What getdomaininfo answers."""
    stopped = domain.shut_down or domain.dying != ALIVE or domain.pause_count > 0
    running = not stopped and any(machine.host.running(token) for token in domain.processes)
    return {
        "domid": domain.domid,
        "flags": {
            "dying": domain.dying != ALIVE,
            "shutdown": domain.shut_down,
            "paused": domain.pause_count > 0,
            "blocked": not stopped and not running,
            "running": running,
            "crashed": domain.shut_down and domain.shutdown_code == SHUTDOWN_crash,
            "privileged": domain.privileged,
        },
        "shutdown_reason": domain.shutdown_code if domain.shut_down else None,
        "tot_pages": domain.memory.nr_pages,
        "max_pages": domain.max_pages,
        "cpu_time": domain_cpu_time(machine, domain),
        "max_vcpus": domain.max_vcpus,
        "nr_online_vcpus": domain.online_vcpus,  # of a zombie as well
        "handle": domain.handle,
        "pids": {process.name: process.pid for process in domain.processes.values()},
        "create_flags": domain.flags,
        "target": domain.target,
    }


def process_list(machine: Machine) -> Iterator[dict[str, Any]]:
    """Every process of every domain, and the last that are gone of those there are."""
    past = [process for domain in machine.domains.values() for process in domain.past]
    for process in (*machine.processes.values(), *past):
        yield {
            "domid": process.domid,
            "process": process.name,
            "pid": process.pid,
            "missing": process.missing,
            "failure": process.failure,
            "alive": bool(process.pid) and not process.gone,
            "gone": process.gone,
            "stalled": process.stalled,
            "struck": process.struck,
            "status": process.status,
        }
