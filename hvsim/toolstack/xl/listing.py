"""xl list: which domains there are."""

from typing import Any

from hvsim.toolstack.context import Guest
from hvsim.toolstack.errors import ToolstackError
from hvsim.toolstack.hypervisor import DomainInfo
from hvsim.toolstack.xl.command import Call, Command, find_domain, options

HEADER = "Name                                        ID   Mem VCPUs\tState\tTime(s)"
VERBOSE_HEADER = "   UUID                            Reason-Code\tSecurity Label"
NO_NAME = "(null)"
PAGE_KIB = 4


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


def entry(name: str | None, info: DomainInfo) -> dict[str, Any]:
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


def configuration(name: str | None, info: DomainInfo, guest: Guest | None) -> dict[str, Any]:
    """A domain as ``xl list -l`` describes it: libxl's own names, so far as they mean something."""
    c_info: dict[str, Any] = {"type": "pv", "name": name or NO_NAME}
    b_info: dict[str, Any] = {}
    config: dict[str, Any] = {"c_info": c_info, "b_info": b_info}
    if guest is not None:
        c_info |= {"domid": 0xFFFFFFFF, "uuid": guest.uuid, "run_hotplug_scripts": "True"}
        if guest.driver:
            c_info["driver_domain"] = "True"
        b_info |= {
            "max_vcpus": guest.config.maxvcpus,
            "avail_vcpus": list(range(guest.config.vcpus)),
        }
    b_info |= {
        "max_memkb": info.max_pages * PAGE_KIB,
        "target_memkb": info.mem_pages * PAGE_KIB,
    }
    if guest is not None:
        b_info["video_memkb"] = 0
        for key, value in (
            ("kernel", guest.config.kernel),
            ("cmdline", guest.config.cmdline),
            ("ramdisk", guest.config.ramdisk),
        ):
            if value:
                b_info[key] = value
    b_info["type.pv"] = {}
    if guest is not None:
        if guest.disks:
            config["disks"] = [
                {
                    "backend_domid": disk.device.backend_domid,
                    "pdev_path": disk.vbd.params,
                    "vdev": disk.vbd.vdev,
                    "format": disk.vbd.format,
                    "readwrite": int(not disk.vbd.readonly),
                }
                for disk in guest.disks.values()
            ]
        config |= guest.config.actions
    return {"domid": info.domid, "config": config}


async def run(call: Call) -> int:
    """xl list [-l] [-v] [domain...]."""
    flags, args = options(call.args, "lvZn", ("long", "verbose", "context", "numa"))
    toolstack = call.toolstack
    async with toolstack.glance(call.reply) as store:
        if args:
            infos = []
            for text in args:
                domid = await find_domain(call, store, text)
                info = toolstack.hypervisor.info(domid)
                if info is None:
                    raise ToolstackError(f"Error: Domain '{text}' does not exist.")
                infos.append(info)
        else:
            infos = toolstack.hypervisor.domains()
        names = await toolstack.names(store, infos)
    named = list(zip(names, infos, strict=True))
    if flags & {"l", "long"}:
        rows = [configuration(name, info, toolstack.guest(info.domid)) for name, info in named]
        return await call.data(rows)
    if call.json or "json" in flags:
        return await call.data([entry(name, info) for name, info in named])
    verbose = bool(flags & {"v", "verbose"})
    # Every domain has its memory on the one node there is, and may run everywhere.
    numa = bool(flags & {"n", "numa"})
    lines = [HEADER + (VERBOSE_HEADER if verbose else "") + (" NODE Affinity" if numa else "")]
    lines += [row(name, info, verbose=verbose) + (" all" if numa else "") for name, info in named]
    call.reply.data = [entry(name, info) for name, info in named]
    await call.reply.out(*lines)
    return 0


COMMAND = Command(
    "list",
    "List information about all/some domains",
    "[options] [Domain]\n- [--long] [--verbose] [Domain...]",
    run,
    "-l, --long              Output all VM details\n"
    "-v, --verbose           Prints out UUIDs and security context\n"
    "    --json              Output as JSON",
    example="xl list -v",
)
