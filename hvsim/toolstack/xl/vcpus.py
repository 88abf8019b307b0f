"""xl vcpu-list: the virtual CPUs of domains."""

from typing import Any

from hvsim.abi.cpumask import ranges
from hvsim.domain import machine_facts
from hvsim.toolstack.context import Toolstack
from hvsim.toolstack.errors import ToolstackError, libxl
from hvsim.toolstack.hypervisor import DomainInfo
from hvsim.toolstack.xl.command import Call, Command, find_domain, options
from hvsim.toolstack.xl.listing import NO_NAME

HEADER = "Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)"


def vcpus(toolstack: Toolstack, name: str | None, info: DomainInfo) -> list[dict[str, Any]]:
    """The vCPUs of a domain as data.  All its work is on the first; the others wait."""
    cpus = int(toolstack.hypervisor.machine()["nr_cpus"])
    affinity = [toolstack.hypervisor.affinity(info.domid, number) for number in range(info.vcpus)]
    return [
        {
            "name": name,
            "domid": info.domid,
            "vcpu": number,
            "cpu": machine_facts.processor(info.pids.values(), cpus) if number == 0 else 0,
            "running": number == 0 and info.running,
            "time": round(info.cpu_seconds, 1) if number == 0 else 0.0,
            "hard": _bitmap(affinity[number][0], cpus),
            "soft": _bitmap(affinity[number][1], cpus),
        }
        for number in range(info.vcpus)
    ]


def _bitmap(cpus: list[int], count: int) -> str:
    """As xl writes a set of CPUs (print_bitmap): "all", "none", "0-1,3"."""
    if len(cpus) == count:
        return "all"
    return ranges(sum(1 << cpu for cpu in cpus)) or "none"


def row(vcpu: dict[str, Any]) -> str:
    """One line of the list, in xl's columns."""
    state = "r--" if vcpu["running"] else "-b-"
    return (
        f"{vcpu['name'] or NO_NAME:<32} {vcpu['domid']:5d} {vcpu['vcpu']:5d} {vcpu['cpu']:4d}   "
        f"{state} {vcpu['time']:9.1f}  {vcpu['hard']} / {vcpu['soft']}"
    )


async def run(call: Call) -> int:
    """xl vcpu-list [domain...]."""
    flags, args = options(call.args)
    toolstack = call.toolstack
    failed = 0
    async with toolstack.glance(call.reply) as store:
        infos = [] if args else toolstack.hypervisor.domains()
        for text in args:
            try:
                domid = await find_domain(call, store, text)
            except ToolstackError as failure:
                await call.reply.err(*failure.lines)
                failed = failure.code
                continue
            info = toolstack.hypervisor.info(domid)
            if info is not None:
                infos.append(info)
                continue
            await call.reply.err(  # and xl's exit code says nothing of it
                libxl(
                    f"libxl_domain.c:1667:libxl_list_vcpu: Domain {domid}:Getting infolist: No "
                    "such file or directory"
                )
            )
        names = await toolstack.names(store, infos)
    rows = [
        vcpu
        for name, info in zip(names, infos, strict=True)
        for vcpu in vcpus(toolstack, name, info)
    ]
    if call.json or "json" in flags:
        return await call.data(rows)
    call.reply.data = rows
    await call.reply.out(HEADER, *map(row, rows))
    return failed


COMMAND = Command(
    "vcpu-list",
    "List the VCPUs for all/some domains",
    "[Domain, ...]",
    run,
    example="xl vcpu-list guest",
)
