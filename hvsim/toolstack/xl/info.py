"""xl info, vcpu-list: the machine, and what runs where.

What the hypervisor is asked, and what stands for what a machine of processes does not have, is the
same as for a real xl, which asks through /dev/xen/privcmd (domain/nodes/hypercalls.py).
"""

import os
import platform
import sys
from typing import Any, Final

from hvsim.domain.nodes.hypercalls import cpu_khz, processor
from hvsim.toolstack.errors import ToolstackError, libxl
from hvsim.toolstack.hypervisor import DomainInfo
from hvsim.toolstack.xl.command import Call, Command, find_domain, options
from hvsim.toolstack.xl.listing import NO_NAME

PAGES_PER_MIB: Final = 256
VCPU_HEADER: Final = (
    "Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)"
)


async def info(call: Call) -> int:
    """xl info [-n]."""
    flags, _ = options(call.args, "n", ("numa",))
    numa = bool(flags & {"n", "numa"})
    hypervisor = call.toolstack.hypervisor
    machine, version = hypervisor.machine(), hypervisor.version()
    rows = [*_host(machine)]
    topology = _topology(machine) if numa else []
    rest = _xen(version)
    call.reply.data = dict((*rows, *rest))
    lines = [_line(*row) for row in rows] + topology + [_line(*row) for row in rest]
    if call.json or "json" in flags:
        return await call.data(call.reply.data)
    await call.reply.out("\n".join(lines))
    return 0


def _line(key: str, value: str) -> str:
    return f"{key:<23}: {value}"


def _host(machine: dict[str, Any]) -> list[tuple[str, str]]:
    system = os.uname()
    caps = ":".join(["00000000"] * 8)
    return [
        ("host", system.nodename),
        ("release", system.release),
        ("version", system.version),
        ("machine", system.machine),
        ("nr_cpus", str(machine["nr_cpus"])),
        ("max_cpu_id", str(machine["nr_cpus"] - 1)),
        ("nr_nodes", str(machine["nr_nodes"])),
        ("cores_per_socket", str(machine["cores_per_socket"])),
        ("threads_per_core", str(machine["threads_per_core"])),
        ("cpu_mhz", f"{cpu_khz() / 1000:.3f}"),
        ("hw_caps", caps),
        ("virt_caps", "pv gnttab-v1"),
        ("total_memory", str(machine["total_pages"] // PAGES_PER_MIB)),
        ("free_memory", str((machine["free_pages"] + machine["scrub_pages"]) // PAGES_PER_MIB)),
        ("sharing_freed_memory", "0"),
        ("sharing_used_memory", "0"),
        ("outstanding_claims", "0"),
        ("free_cpus", "0"),
    ]


def _topology(machine: dict[str, Any]) -> list[str]:
    cpus, nodes = int(machine["nr_cpus"]), int(machine["nr_nodes"])
    lines = [_line("cpu_topology", "").rstrip(), "cpu:    core    socket     node"]
    lines += [
        f"{cpu:3d}:    {cpu:4d}     {0:4d}     {cpu * nodes // cpus:4d}" for cpu in range(cpus)
    ]
    lines += [
        _line("device topology", "").rstrip(),
        "device           node",
        "No device topology data available",
        _line("numa_info", "").rstrip(),
        "node:    memsize    memfree    distances",
    ]
    size = machine["total_pages"] // nodes // PAGES_PER_MIB
    for node in range(nodes):
        free = machine["node_free_pages"][node] // PAGES_PER_MIB
        far = ",".join("10" if other == node else "20" for other in range(nodes))
        lines.append(f"{node:4d}:    {size:6d}     {free:6d}      {far}")
    return lines


def _xen(version: tuple[int, str]) -> list[tuple[str, str]]:
    number, extra = version
    major, minor = number >> 16, number & 0xFFFF
    return [
        ("xen_major", str(major)),
        ("xen_minor", str(minor)),
        ("xen_extra", extra),
        ("xen_version", f"{major}.{minor}{extra}"),
        ("xen_caps", "xen-3.0-x86_64 "),
        ("xen_scheduler", "credit2"),
        ("xen_pagesize", "4096"),
        ("platform_params", "virt_start=0x0"),
        ("xen_changeset", ""),
        ("xen_commandline", ""),
        ("cc_compiler", f"{sys.implementation.name} {platform.python_version()}"),
        ("cc_compile_by", "hvsim"),
        ("cc_compile_domain", ""),
        ("cc_compile_date", ""),
        ("build_id", ""),
        ("xend_config_format", "4"),
    ]


async def vcpu_list(call: Call) -> int:
    """xl vcpu-list [domain...]."""
    flags, args = options(call.args)
    toolstack = call.toolstack
    failed = 0
    infos: list[DomainInfo] = []
    async with toolstack.store() as store:
        if args:
            for text in args:
                try:
                    domid = await find_domain(call, store, text)
                except ToolstackError as failure:
                    await call.reply.err(*failure.lines)
                    failed = 1
                    continue
                found = toolstack.hypervisor.info(domid)
                if found is None:
                    await call.reply.err(
                        libxl(
                            f"libxl_domain.c:1667:libxl_list_vcpu: Domain {domid}:Getting "
                            "infolist: No such file or directory"
                        )
                    )
                    continue
                infos.append(found)
        else:
            infos = toolstack.hypervisor.domains()
        names = await toolstack.names(store, infos)
    rows = [
        row for name, one in zip(names, infos, strict=True) for row in _vcpus(name or NO_NAME, one)
    ]
    if call.json or "json" in flags:
        return await call.data(rows)
    call.reply.data = rows
    await call.reply.out("\n".join([VCPU_HEADER, *map(_vcpu_line, rows)]))
    return failed


def _vcpus(name: str, info: DomainInfo) -> list[dict[str, Any]]:
    """All work of a domain is on its vCPU 0; the others wait."""
    return [
        {
            "name": name,
            "domid": info.domid,
            "vcpu": vcpu,
            "cpu": processor({"pids": info.pids}) if vcpu == 0 else 0,
            "running": vcpu == 0 and info.running,
            "blocked": vcpu != 0 or not info.running,
            "time": round(info.cpu_seconds, 1) if vcpu == 0 else 0.0,
        }
        for vcpu in range(info.vcpus)
    ]


def _vcpu_line(row: dict[str, Any]) -> str:
    state = ("r" if row["running"] else "-") + ("b" if row["blocked"] else "-") + "-"
    return (
        f"{row['name']:<32} {row['domid']:5d} {row['vcpu']:5d}{row['cpu']:5d}   {state} "
        f"{row['time']:9.1f}  all / all"
    )


INFO = Command(
    "info",
    "Get information about Xen host",
    "-n, --numa         List host NUMA topology information",  # where xl itself has it
    info,
    example="xl info",
)
VCPU_LIST = Command(
    "vcpu-list",
    "List the VCPUs for all/some domains",
    "[Domain, ...]",
    vcpu_list,
    example="xl vcpu-list guest",
)
