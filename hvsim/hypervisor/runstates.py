"""The run states of domains and their processes, as Linux has counted them.

Linux schedules: running is what a process has spent on CPUs, runnable what it has waited for one
(/proc/PID/schedstat), and the rest it was blocked.  A domain's processes all stand behind its vCPU
0; another one that is up has nothing to do, and is blocked.  What is not up, paused at work,
stopped or not born yet is offline, as in Xen.

Each process tells in its page until when it is blocked.  That is believed of a process that really
sleeps, and shown; nothing else depends on it.
"""

from collections.abc import Generator

from hvsim.abi.vcpu import (
    RUNSTATE_blocked,
    RUNSTATE_offline,
    RUNSTATE_runnable,
    RUNSTATE_running,
    RunstateInfo,
)
from hvsim.hypervisor.domains import ALIVE, Domain, Process
from hvsim.hypervisor.host import Host
from hvsim.hypervisor.work import pieces

LOOKS = 8
"""Processes that are looked at in one piece of work: each look reads /proc."""

Busy = tuple[int, int, int, int | None]
"""A process's run state, CPU time, time of waiting for a CPU, and until when it is blocked."""


def started(domain: Domain, process: Process, now: int) -> None:
    """A process runs; the main one brings up its domain's vCPUs."""
    process.vcpu.account(RUNSTATE_runnable, now, 0, 0)
    if process.main:
        for number, vcpu in enumerate(domain.vcpus[: domain.online_vcpus]):
            vcpu.account(RUNSTATE_blocked if number else RUNSTATE_runnable, now, 0, 0)


def ended(host: Host, process: Process) -> None:
    """A process is gone: what it has used stays its domain's."""
    domain = process.domain
    ran, queued = host.cpu_time(process.token) or 0, host.queued_time(process.token) or 0
    domain.cpu_time += ran
    domain.queued_time += queued
    process.vcpu.account(RUNSTATE_offline, host.now(), ran, queued)


def processor(host: Host, domain: Domain, count: int) -> int:
    """Which of the lab's *count* CPUs the domain's main process, or its first, was last on."""
    main = domain.main
    tokens = [main.token] if main is not None else list(domain.processes)
    return host.processor(tokens[0], count) if tokens else 0


def of_vcpu(host: Host, domain: Domain, number: int) -> Generator[None, None, RunstateInfo]:
    """The run states of one vCPU of a domain, up to now.  A job (``work``); the number is one of
    the domain's."""
    vcpu, ran, queued, deadline = domain.vcpus[number], 0, 0, None
    if number:
        up = number < domain.online_vcpus and _runs(domain)
        state = RUNSTATE_blocked if up else RUNSTATE_offline
    else:
        states: list[int] = []
        for pause, piece in pieces(list(domain.processes.values()), LOOKS):
            if pause:
                yield
            for process in piece:
                state, used, waited, until = _look(host, process)
                states.append(state)
                ran, queued, deadline = ran + used, queued + waited, until
        # One that runs makes the vCPU run; it is blocked when none does, and some wait.
        state = min(states, default=RUNSTATE_offline) if _runs(domain) else RUNSTATE_offline
        if len(states) != 1:
            deadline = None  # of several there is none that all wait for
        ran, queued = ran + domain.cpu_time, queued + domain.queued_time
    vcpu.account(state, host.now(), ran, queued, deadline)
    return vcpu.runstate(host.now())


def _runs(domain: Domain) -> bool:
    return domain.started and domain.dying == ALIVE and not domain.shut_down


def _look(host: Host, process: Process) -> Busy:
    """Look at a process, and tell it in its page what was found."""
    ran, queued = host.cpu_time(process.token) or 0, host.queued_time(process.token) or 0
    state, deadline = RUNSTATE_offline, None
    if process.pid and not process.gone:
        asleep, deadline = process.page.blocked() if process.page is not None else (True, None)
        if host.running(process.token):
            state, deadline = RUNSTATE_running, None
        elif asleep or not process.stopped:
            state = RUNSTATE_blocked
    process.vcpu.account(state, host.now(), ran, queued, deadline)
    if process.page is not None and not process.gone:
        process.page.set_runstate(process.vcpu.runstate(host.now()))
    return state, ran, queued, deadline
