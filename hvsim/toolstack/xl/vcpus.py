"""xl vcpu-list, vcpu-set, vcpu-pin: the virtual CPUs of domains."""

import re
from typing import Any, Final

from hvsim.abi.cpumask import ranges
from hvsim.domain.hypercall import HypercallError
from hvsim.names.number import unsigned
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.errors import ToolstackError, libxl
from hvsim.toolstack.host.glance import glance
from hvsim.toolstack.host.hypervisor import DomainInfo
from hvsim.toolstack.host.nodes import domain_path, write
from hvsim.toolstack.xl.command import Call, Command, find_domain
from hvsim.toolstack.xl.listing import NO_NAME
from hvsim.toolstack.xl.rows import XlVcpuRow

HEADER = "Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)"
OFFLINE: Final = "--p"
"""The state of a vCPU that the guest has not brought up."""


def vcpus(toolstack: Toolstack, name: str | None, info: DomainInfo) -> list[XlVcpuRow]:
    """The vCPUs of a domain as data."""
    cpus = int(toolstack.hypervisor.machine()["nr_cpus"])
    rows: list[XlVcpuRow] = []
    for number in range(info.vcpus):
        found = toolstack.hypervisor.vcpu(info.domid, number)
        hard, soft = toolstack.hypervisor.affinity(info.domid, number)
        rows.append(
            {
                "name": name,
                "domid": info.domid,
                "vcpu": number,
                "cpu": found["cpu"],
                "state": _state(found),
                "running": found["running"],
                "time": round(found["cpu_time"] / 1e9, 1),
                "hard": _bitmap(hard, cpus),
                "soft": _bitmap(soft, cpus),
            }
        )
    return rows


def _state(vcpu: dict[str, Any]) -> str:
    """The three letters of a vCPU."""
    if not vcpu["online"]:
        return OFFLINE
    return ("r" if vcpu["running"] else "-") + ("b" if vcpu["blocked"] else "-") + "-"


def _bitmap(cpus: list[int], count: int) -> str:
    """As xl writes a set of CPUs (print_bitmap): "all", "none", "0-1,3"."""
    if len(cpus) == count:
        return "all"
    return ranges(sum(1 << cpu for cpu in cpus)) or "none"


def row(vcpu: XlVcpuRow) -> str:
    """One line of the list, in xl's columns."""
    cpu = "-" if vcpu["state"] == OFFLINE else vcpu["cpu"]
    return (
        f"{vcpu['name'] or NO_NAME:<32} {vcpu['domid']:5d} {vcpu['vcpu']:5d} {cpu:>4}   "
        f"{vcpu['state']} {vcpu['time']:9.1f}  {vcpu['hard']} / {vcpu['soft']}"
    )


async def vcpu_list(call: Call) -> int:
    """xl vcpu-list [domain...]."""
    words = LIST.parse(call)
    args = words.rest
    toolstack = call.toolstack
    failed = 0
    async with glance(toolstack, call.reply) as store:
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
    if call.json or "json" in words:
        return await call.data(rows)
    call.reply.data = rows
    await call.reply.out(HEADER, *map(row, rows))
    return failed


async def vcpu_set(call: Call) -> int:
    """xl vcpu-set [-i] domain vCPUs: how many of them the guest is to use."""
    words = SET.parse(call)
    text = words.rest[1]
    async with call.toolstack.store() as store:
        domid = await find_domain(call, store, words.rest[0])
        wanted = unsigned(text)
        if wanted is None:
            raise ToolstackError("Error: Invalid argument.")
        host = int(call.toolstack.hypervisor.machine()["nr_cpus"])
        if wanted > host and not words.any("i", "ignore-host"):
            raise ToolstackError(
                f"You are overcommmitting! You have {host} physical CPUs and want {wanted} vCPUs! "
                "Aborting, use --ignore-host to continue"
            )
        info = call.toolstack.hypervisor.info(domid)
        if info is None:
            raise ToolstackError(f"Error: Domain '{words.rest[0]}' does not exist.")
        place, why = 1863, f"Requested {wanted} VCPUs!"
        if wanted > info.vcpus:
            place, why = 1869, f"Requested {wanted} VCPUs, however maxcpus is {info.vcpus}!"
        if not 0 < wanted <= info.vcpus:
            raise ToolstackError(
                libxl(
                    f"libxl_domain.c:{place}:libxl_set_vcpuonline: Domain {domid}:{why}: "
                    "Function not implemented"
                ),
                f"libxl_set_vcpuonline failed domid={domid} max_vcpus={wanted}, rc: -3",
            )
        batch = [
            request
            for number in range(info.vcpus)
            for request in write(
                f"{domain_path(domid)}/cpu/{number}/availability",
                "online" if number < wanted else "offline",
            )
        ]
        await store.commit(batch, f"the vCPUs of domain {domid}")
    return 0


async def vcpu_pin(call: Call) -> int:
    """xl vcpu-pin domain VCPU|all CPUs [CPUs]: where its vCPUs may run, and would like to."""
    words = PIN.parse(call)
    domain, vcpu, *maps = words.rest[:4]
    toolstack = call.toolstack
    async with toolstack.store() as store:
        domid = await find_domain(call, store, domain)
    number = unsigned(vcpu)
    if vcpu != "all" and number is None:
        raise ToolstackError(f"Error: Invalid argument {vcpu} as VCPU.")
    host = int(toolstack.hypervisor.machine()["nr_cpus"])
    kinds = ("hard", "soft")
    found = [_cpus(text, kind, host) for kind, text in zip(kinds, maps, strict=False)]
    for kind, cpus in zip(kinds, found, strict=False):
        if cpus is not None and not cpus:
            raise ToolstackError(f"vcpu {kind} affinity map is empty")
    if call.dryrun:
        shown = "any" if maps[0] in ("all", "-") else ",".join(map(str, found[0] or ()))
        await call.reply.out(f"cpumap: {shown}")
        return 0
    info = toolstack.hypervisor.info(domid)
    if info is None:
        raise ToolstackError(f"Error: Domain '{domain}' does not exist.")
    hard, soft = [*found, None][:2]
    try:
        for one in range(info.vcpus) if number is None else (number,):
            if hard is not None or soft is not None:
                toolstack.hypervisor.pin(domid, one, hard, soft)
    except HypercallError as refused:
        raise ToolstackError(
            libxl(
                f"libxl_sched.c:62:libxl__set_vcpuaffinity: Domain {domid}:Setting vcpu affinity: "
                f"{refused}"
            ),
            "Could not set affinity."
            if number is None
            else f"Could not set affinity for vcpu `{number}'.",
        ) from None
    return 0


def _cpus(text: str, kind: str, host: int) -> list[int] | None:
    """The CPUs of a list as ``0-2,^1``, those that there are; None for "-": as it is.

    Raises: ToolstackError for a text that is none.
    """
    if text == "-":
        return None
    if text == "all":
        return list(range(host))
    found: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise ToolstackError(f"Error: Invalid {kind} affinity map {text}.")
        first = int(match[2])
        some = set(range(first, int(match[3] or first) + 1))
        found = found - some if match[1] else found | some
    return sorted(cpu for cpu in found if cpu < host)


_RANGE: Final = re.compile(r"(\^?)([0-9]{1,5})(?:-([0-9]{1,5}))?")

LIST = Command("vcpu-list", vcpu_list, example="xl vcpu-list guest")
SET = Command(
    "vcpu-set",
    vcpu_set,
    "i",
    ("ignore-host",),
    wanted=2,
    options="-i, --ignore-host  Don't limit the vCPU based on the host CPU count",
    example="xl vcpu-set guest 2",
)
PIN = Command(
    "vcpu-pin",
    vcpu_pin,
    "f",
    ("force", "ignore-global-affinity-masks"),
    wanted=3,
    options="-f, --force        undo an override pinning done by the kernel\n"
    "--ignore-global-affinity-masks Ignore global masks in xl.conf",
    example="xl vcpu-pin guest all all",
)
COMMANDS = (LIST, SET, PIN)
