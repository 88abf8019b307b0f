"""What the hypervisor tells of domains and processes: getdomaininfo, and the list of processes."""

import contextlib
import json
import os
from collections.abc import Generator
from pathlib import Path

from hvsim.abi.sched import SHUTDOWN_crash
from hvsim.hypervisor.domains import ALIVE, Domain, Process
from hvsim.hypervisor.machine import Machine
from hvsim.hypervisor.runstates import LOOKS
from hvsim.hypervisor.work import pieces
from hvsim.wire.answers import DomainInfo, ProcessInfo


def usage(machine: Machine, domain: Domain) -> Generator[None, None, tuple[int, bool]]:
    """Nanoseconds of CPU time that the domain's processes have used, those that are gone included,
    and whether one of them runs or waits for a CPU. A job (``work``)."""
    used, running = domain.cpu_time, False
    for pause, piece in pieces(list(domain.processes), LOOKS):
        if pause:
            yield
        used += sum(machine.host.cpu_time(token) or 0 for token in piece)
        running = running or any(machine.host.running(token) for token in piece)
    return used, running


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


def domain_info(machine: Machine, domain: Domain) -> Generator[None, None, DomainInfo]:
    """What getdomaininfo answers. A job (``work``)."""
    used, running = yield from usage(machine, domain)
    stopped = domain.shut_down or domain.dying != ALIVE or domain.pause_count > 0
    running = running and not stopped
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
        "cpu_time": used,
        "max_vcpus": domain.max_vcpus,
        "nr_online_vcpus": domain.online_vcpus,  # of a zombie as well
        "handle": domain.handle,
        "pids": {one.name: one.pid for one in domain.processes.values() if not one.gone},
        "create_flags": domain.flags,
        "target": domain.target,
    }


def process_list(machine: Machine) -> Generator[None, None, list[ProcessInfo]]:
    """Every process of every domain, and the last that are gone of those there are. A job
    (``work``)."""
    rows: list[ProcessInfo] = []
    for pause, domains in pieces(list(machine.domains.values()), LOOKS):
        if pause:
            yield
        for domain in domains:
            rows += [_process(process) for process in (*domain.processes.values(), *domain.past)]
    return rows


def _process(process: Process) -> ProcessInfo:
    return {
        "domid": process.domid,
        "process": process.name,
        "pid": process.pid,
        "missing": process.missing,
        "failure": process.failure,
        "alive": bool(process.pid) and not process.gone,
        "gone": process.gone,
        "stalled": process.stalled,
        "slowed": bool(process.brakes),
        "struck": process.struck,
        "status": process.status,
    }
