"""xl info: the machine, and the hypervisor on it."""

import os
from typing import Any, Final

from hvsim.domain import machine_facts
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.xl.command import Call, Command
from hvsim.wire.answers import MachineInfo

PAGES_PER_MIB: Final = 256


def facts(toolstack: Toolstack) -> dict[str, Any]:
    """The lines of ``xl info`` by name, in its order."""
    system = os.uname()
    machine = toolstack.hypervisor.machine()
    major, minor, extra = toolstack.hypervisor.version()
    free = machine["free_pages"] + machine["scrub_pages"] - machine["outstanding_pages"]
    return {
        "host": system.nodename,
        "release": system.release,
        "version": system.version,
        "machine": system.machine,
        "nr_cpus": machine["nr_cpus"],
        "max_cpu_id": machine["nr_cpus"] - 1,
        "nr_nodes": machine["nr_nodes"],
        "cores_per_socket": machine["cores_per_socket"],
        "threads_per_core": machine["threads_per_core"],
        "cpu_mhz": f"{machine_facts.cpu_khz() / 1000:.3f}",
        "hw_caps": ":".join(f"{word:08x}" for word in machine_facts.hw_cap()),
        "virt_caps": "pv gnttab-v1",
        "total_memory": machine["total_pages"] // PAGES_PER_MIB,
        "free_memory": free // PAGES_PER_MIB,
        "sharing_freed_memory": 0,
        "sharing_used_memory": 0,
        "outstanding_claims": machine["outstanding_pages"] // PAGES_PER_MIB,
        "free_cpus": 0,
        "xen_major": major,
        "xen_minor": minor,
        "xen_extra": extra,
        "xen_version": f"{major}.{minor}{extra}",
        "xen_caps": machine_facts.CAPABILITIES,
        "xen_scheduler": machine_facts.SCHEDULER,
        "xen_pagesize": 4096,
        "platform_params": "virt_start=0x0",
        "xen_changeset": "",
        "xen_commandline": "",
        "cc_compiler": machine_facts.compiler(),
        "cc_compile_by": machine_facts.COMPILED_BY,
        "cc_compile_domain": "",
        "cc_compile_date": "",
        "build_id": "",
        "xend_config_format": 4,
    }


def topology(machine: MachineInfo) -> list[str]:
    """What ``-n`` puts between the machine and the hypervisor."""
    cpus, nodes = int(machine["nr_cpus"]), int(machine["nr_nodes"])
    lines = [f"{'cpu_topology':<23}:", "cpu:    core    socket     node"]
    for cpu in range(cpus):
        lines.append(f"{cpu:3d}:    {cpu:4d}     {0:4d}     {cpu * nodes // cpus:4d}")
    lines += [
        f"{'device topology':<23}:",
        "device           node",
        "No device topology data available",
        f"{'numa_info':<23}:",
        "node:    memsize    memfree    distances",
    ]
    size = machine["total_pages"] // nodes // PAGES_PER_MIB
    for node in range(nodes):
        free = machine["node_free_pages"][node] // PAGES_PER_MIB
        far = ",".join("10" if other == node else "20" for other in range(nodes))
        lines.append(f"{node:4d}:    {size:6d}     {free:6d}      {far}")
    return lines


async def run(call: Call) -> int:
    """xl info [-n]."""
    words = COMMAND.parse(call)
    found = facts(call.toolstack)
    if call.json or "json" in words:
        return await call.data(found)
    call.reply.data = found
    lines = [f"{name:<23}: {value}" for name, value in found.items()]
    if words.any("n", "numa"):
        place = list(found).index("xen_major")
        lines[place:place] = topology(call.toolstack.hypervisor.machine())
    await call.reply.out(*lines)
    return 0


COMMAND = Command("info", run, "n", ("numa",), example="xl info")
COMMANDS = (COMMAND,)
