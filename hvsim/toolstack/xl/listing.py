"""xl list: which domains there are."""

from collections.abc import Sequence

from hvsim.toolstack.config.libxl_json import render
from hvsim.toolstack.host.errors import ToolstackError, libxl
from hvsim.toolstack.host.glance import glance
from hvsim.toolstack.host.hypervisor import DomainInfo
from hvsim.toolstack.xl.command import Call, Command, find_domain
from hvsim.toolstack.xl.configuration import PAGE_KIB, running
from hvsim.toolstack.xl.rows import XlDomainRow

HEADER = "Name                                        ID   Mem VCPUs\tState\tTime(s)"
VERBOSE_HEADER = "   UUID                            Reason-Code\tSecurity Label"
CONTEXT_HEADER = "   Security Label"
POOL_HEADER = "         Cpupool"
NUMA_HEADER = " NODE Affinity"
NO_NAME = "(null)"
POOL = "Pool-0"
"""The only CPU pool of this host."""


def row(name: str | None, info: DomainInfo, *, verbose: bool = False) -> str:
    """One line of the list, in xl's columns."""
    text = (
        f"{name or NO_NAME:<40} {info.domid:5d} {info.mem_pages * PAGE_KIB // 1024:5d} "
        f"{info.vcpus:5d}     {info.state}  {info.cpu_seconds:8.1f}"
    )
    if verbose:
        reason = f"{info.shutdown_reason:8x}" if info.shutdown else f"{'-':>8}"
        text += f" {info.uuid} {reason} {'-':>16}"
    return text


def entry(name: str | None, info: DomainInfo) -> XlDomainRow:
    """The same as data."""
    return {
        "name": name,
        "domid": info.domid,
        "memory_mb": info.mem_pages * PAGE_KIB // 1024,
        "vcpus": info.vcpus,
        "state": info.state,
        "time": round(info.cpu_seconds, 1),
        "uuid": info.uuid,
        "shutdown_reason": info.shutdown_reason,
    }


async def run(call: Call) -> int:
    """xl list [-lvZcn] [domain]."""
    words = COMMAND.parse(call)
    named = await _named(call, words.rest)
    if words.any("l", "long"):
        return await _long(call, named)
    if call.json or "json" in words:
        return await call.data([entry(name, info) for name, info in named])
    verbose = words.any("v", "verbose")
    # Every domain has its memory on the one node there is, may run everywhere, is in one pool.
    context = words.any("Z", "context")
    pool, numa = words.any("c", "cpupool"), words.any("n", "numa")
    header = HEADER
    if verbose:
        header += VERBOSE_HEADER
    elif context:
        header += CONTEXT_HEADER
    header += POOL_HEADER * pool + NUMA_HEADER * numa
    more = (
        (f" {'-':>16}" if context and not verbose else "") + f" {POOL:>15}" * pool + " all" * numa
    )
    lines = [header, *(row(name, info, verbose=verbose) + more for name, info in named)]
    call.reply.data = [entry(name, info) for name, info in named]
    await call.reply.out(*lines)
    return 0


async def _named(call: Call, wanted: Sequence[str]) -> list[tuple[str | None, DomainInfo]]:
    """The domains that are meant, with their names.  Raises: ToolstackError in xl's words."""
    toolstack = call.toolstack
    async with glance(toolstack, call.reply) as store:
        if not wanted:
            infos = toolstack.hypervisor.domains()
        else:
            infos = []
            for text in wanted:
                info = toolstack.hypervisor.info(await find_domain(call, store, text))
                if info is None:
                    raise ToolstackError(f"Error: Domain '{text}' does not exist.")
                infos.append(info)
        names = await toolstack.names(store, infos)
    return list(zip(names, infos, strict=True))


async def _long(call: Call, named: Sequence[tuple[str | None, DomainInfo]]) -> int:
    """The whole config of each; a domain that has left the store has none any more."""
    rows = []
    for name, info in named:
        if name is None:
            await call.reply.err(
                libxl(
                    "libxl_domain.c:2335:retrieve_domain_configuration_lock_acquired: "
                    f"Domain {info.domid}:Fail to get domain configuration"
                )
            )
        else:
            rows.append(running(name, info, call.toolstack.guest(info.domid)))
    call.reply.data = rows
    await call.reply.out(*render(rows).split("\n"), "")
    return 0


COMMAND = Command(
    "list",
    run,
    "lvhZcn",
    ("long", "verbose", "context", "cpupool", "numa"),
    options="-l, --long              Output all VM details\n"
    "-v, --verbose           Prints out UUIDs and security context\n"
    "-Z, --context           Prints out security context\n"
    "-c, --cpupool           Prints the cpupool the domain is in\n"
    "-n, --numa              Prints out NUMA node affinity",
    example="xl list -v",
)
COMMANDS = (COMMAND,)
