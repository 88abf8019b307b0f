"""What the hypervisor answers with, where that is a map: typed rows, written there and read by
domains and tools.

Where a row is that of a structure of Xen's, its keys are the names that Xen has.
"""

from typing import TypedDict


class DomainFlags(TypedDict):
    """What a domain is doing (XEN_DOMINF_*)."""

    dying: bool
    shutdown: bool
    paused: bool
    blocked: bool
    running: bool
    crashed: bool
    privileged: bool


class DomainInfo(TypedDict):
    """A domain: ``xen_domctl_getdomaininfo``, and what is ours.

    ``shutdown_reason`` is SHUTDOWN_*, None before it has shut down; memory is in pages, time in
    nanoseconds; ``pids`` are those of its live processes, by name; ``target`` is the domain that it
    has rights over.
    """

    domid: int
    flags: DomainFlags
    shutdown_reason: int | None
    tot_pages: int
    max_pages: int
    cpu_time: int
    max_vcpus: int
    nr_online_vcpus: int
    handle: bytes
    pids: dict[str, int]
    create_flags: int
    target: int | None


class ProcessInfo(TypedDict):
    """A process of a domain (``HVSIM_SYSCTL_processes``).

    ``missing`` are walls that this machine does not allow it, ``failure`` why it could not be made,
    ``stalled``, ``slowed`` and ``struck`` what a fault has done to it, ``status`` waitpid's when it
    has ended.
    """

    domid: int
    process: str
    pid: int
    missing: list[str]
    failure: str
    alive: bool
    gone: bool
    stalled: bool
    slowed: bool
    struck: bool
    status: int | None


class MachineInfo(TypedDict):
    """The machine: ``xen_sysctl_physinfo``, and what is ours (from ``nr_domains`` on)."""

    nr_cpus: int
    threads_per_core: int
    cores_per_socket: int
    nr_nodes: int
    total_pages: int
    free_pages: int
    scrub_pages: int
    outstanding_pages: int
    node_free_pages: list[int]
    nr_domains: int
    ledger_seq: int
    counters: dict[str, int]
    pids: dict[str, int]


class VcpuInfo(TypedDict):
    """A vCPU: ``xen_domctl_getvcpuinfo``, its run states, and until when it says it is blocked."""

    online: bool
    blocked: bool
    running: bool
    cpu_time: int
    cpu: int
    state_entry_time: int
    time: list[int]
    deadline: int | None


class StartInfo(TypedDict):
    """What a domain is told at birth: ``start_info_t``, and what is ours.

    A frame or port that it was born without is 0; ``seed`` is that of the process that asks.
    """

    domid: int
    nr_pages: int
    max_vcpus: int
    seed: int
    flags: int
    store_gfn: int
    store_port: int
    console_gfn: int
    console_port: int
    cmd_line: str


class PortStatus(TypedDict):
    """A port: ``evtchn_status``; -1 where there is none of a thing."""

    status: int
    vcpu: int
    remote_dom: int
    remote_port: int
    virq: int
