"""xl uptime, vm-list, claims, sharing: further tables of the domains that there are."""

import time
from collections.abc import Sequence

from hvsim.linux import proc
from hvsim.toolstack.host.hypervisor import DomainInfo
from hvsim.toolstack.host.nodes import domain_path
from hvsim.toolstack.host.store import Store
from hvsim.toolstack.xl.command import Call, Command, find_domain
from hvsim.toolstack.xl.configuration import PAGE_KIB
from hvsim.toolstack.xl.listing import HEADER, NO_NAME, row


async def uptime(call: Call) -> int:
    """xl uptime [-s] [domain...]."""
    words = UPTIME.parse(call)
    toolstack = call.toolstack
    async with toolstack.store() as store:
        domids = [await find_domain(call, store, text) for text in words.rest]
        infos = [
            info for info in toolstack.hypervisor.domains() if not domids or info.domid in domids
        ]
        names = await toolstack.names(store, infos)
        born = [await _born(store, info.domid) for info in infos]
    now = toolstack.wall()
    lines = [] if words.any("s", "short") else [f"{'Name':<33} {'ID':>4} Uptime"]
    clock = time.strftime("%H:%M:%S")
    for info, name, start in zip(infos, names, born, strict=True):
        seconds = int(now - start) if start is not None else int(proc.uptime())
        hours, minutes, left = seconds // 3600, seconds // 60 % 60, seconds % 60
        if words.any("s", "short"):
            days = f"{hours // 24} days, " if hours >= 24 else ""
            up = f"{days}{hours % 24:>2}:{minutes:02d}"
            lines.append(f" {clock} up {up}, {name or NO_NAME} ({info.domid})")
        else:
            days = f"{hours // 24} days, " if hours >= 24 else ""
            up = f"{days}{hours % 24:>2}:{minutes:02d}:{left:02d}"
            lines.append(f"{name or NO_NAME:<33} {info.domid:4d} {up}")
    await call.reply.out(*lines)
    return 0


async def _born(store: Store, domid: int) -> float | None:
    """When a domain was made; None for dom0, which is as old as its host."""
    vm = await store.read(f"{domain_path(domid)}/vm")
    text = await store.read(f"{vm}/start_time") if vm else None
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


async def vm_list(call: Call) -> int:
    """xl vm-list."""
    VM_LIST.parse(call)
    lines = ["UUID                                  ID    name"]
    for name, info in await _all(call):
        lines.append(f"{info.uuid}  {info.domid}    {name or NO_NAME:<30}")
    await call.reply.out(*lines)
    return 0


async def claims(call: Call) -> int:
    """xl claims: nobody claims memory here before it is taken."""
    CLAIMS.parse(call)
    lines = [f"{HEADER}  Claimed"]
    lines += [f"{row(name, info)} {0:5d}" for name, info in await _all(call)]
    await call.reply.out(*lines)
    return 0


async def sharing(call: Call) -> int:
    """xl sharing [domain]: pages are granted here, never shared behind a domain's back."""
    words = SHARING.parse(call)
    rows = await _all(call)
    if words.rest:
        async with call.toolstack.store() as store:
            domid = await find_domain(call, store, words.rest[0])
        rows = [(name, info) for name, info in rows if info.domid == domid]
    lines = [f"{'Name':<40} {'ID':>5} {'Mem':>5} {'Shared'}"]
    for name, info in rows:
        size = info.mem_pages * PAGE_KIB // 1024
        lines.append(f"{name or NO_NAME:<40} {info.domid:5d} {size:5d}  {0:5d}")
    await call.reply.out(*lines)
    return 0


async def _all(call: Call) -> Sequence[tuple[str | None, DomainInfo]]:
    toolstack = call.toolstack
    infos = toolstack.hypervisor.domains()
    async with toolstack.store() as store:
        names = await toolstack.names(store, infos)
    return list(zip(names, infos, strict=True))


UPTIME = Command("uptime", uptime, "s", ("short",), example="xl uptime")
VM_LIST = Command("vm-list", vm_list, example="xl vm-list")
CLAIMS = Command("claims", claims, options="", example="xl claims")
SHARING = Command("sharing", sharing, example="xl sharing")
COMMANDS = (UPTIME, VM_LIST, CLAIMS, SHARING)
