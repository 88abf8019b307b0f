"""sysctl (xen/sysctl.h): the machine as a whole."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hvsim.abi import domctl
from hvsim.abi import guest_calls as abi
from hvsim.abi.hypercall import HYPERVISOR_sysctl
from hvsim.abi.memory import PAGE_SIZE
from hvsim.devnodes.caller import Caller
from hvsim.devnodes.hypercalls import policy
from hvsim.devnodes.hypercalls.common import machine, write_bitmap
from hvsim.devnodes.hypercalls.domctl import list_domains, pack_info
from hvsim.domain import machine_facts
from hvsim.wire.answers import DomainInfo
from hvsim.wire.packing import ERRORS
from hvsim.wire.typed import read

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain

MAX_LIST: Final = 1024
"""Domains of one getdomaininfolist."""
_MAX_KEYS: Final = 64


def sysctl_op(dom: Domain, caller: Caller, args: list[int]) -> int:
    """(struct xen_sysctl *)"""
    where = args[0]
    cmd, version = abi.SYSCTL.unpack(caller.read(where, abi.SYSCTL.size))
    if version != domctl.XEN_SYSCTL_INTERFACE_VERSION:
        raise OSError(errno.EACCES, f"sysctl interface {version:#x}")
    handler = _COMMANDS.get(cmd)
    if handler is None:
        # Whether the caller may is asked first, as Xen does.
        machine(dom)
        raise OSError(_REFUSED.get(cmd, errno.ENOSYS), f"sysctl {cmd}")
    handler(dom, caller, where + abi.SYSCTL.size)
    return 0


def _getdomaininfolist(dom: Domain, caller: Caller, where: int) -> None:
    layout = abi.GETDOMAININFOLIST
    first, most, buffer, _ = layout.unpack(caller.read(where, layout.size))
    rows: list[DomainInfo] = []
    after = first
    while len(rows) < min(most, MAX_LIST):
        asked = min(most, MAX_LIST) - len(rows)
        got = list_domains(dom, after, asked)
        if not got:
            break
        rows += got
        after = got[-1]["domid"] + 1
    caller.write(buffer, b"".join(pack_info(row) for row in rows))
    caller.write(where, layout.pack(first, most, buffer, len(rows)))


def _physinfo(dom: Domain, caller: Caller, where: int) -> None:
    found = machine(dom)
    values: dict[str, int] = dict.fromkeys(abi.PHYSINFO.offsets, 0)
    same = {key: value for key, value in found.items() if key in values}
    values.update(read(dict[str, int], same))
    values.update(
        max_cpu_id=found["nr_cpus"] - 1,
        max_node_id=found["nr_nodes"] - 1,
        cpu_khz=machine_facts.cpu_khz(),
        capabilities=abi.XEN_SYSCTL_PHYSCAP_pv | abi.XEN_SYSCTL_PHYSCAP_gnttab_v1,
        max_mfn=found["total_pages"] - 1,
    )
    del values["hw_cap"]
    caller.write(where, abi.PHYSINFO.pack(*values.values(), *machine_facts.hw_cap()))


def _sched_id(dom: Domain, caller: Caller, where: int) -> None:
    machine(dom)
    caller.write(where, abi.SCHED_ID.pack(abi.XEN_SCHEDULER_CREDIT2))


def _scheduler_op(dom: Domain, caller: Caller, where: int) -> None:
    """The pool's own parameters: Linux does not limit how often it switches."""
    layout = abi.SCHEDULER_OP
    pool, sched, cmd, ratelimit = layout.unpack(caller.read(where, layout.size))
    machine(dom)
    if pool:
        raise OSError(errno.ESRCH, f"no cpupool {pool}")
    if sched != abi.XEN_SCHEDULER_CREDIT2:
        raise OSError(errno.EINVAL, f"scheduler {sched}")
    if cmd == abi.XEN_SYSCTL_SCHEDOP_getinfo:
        caller.write(where, layout.pack(pool, sched, cmd, machine_facts.SCHED_RATELIMIT))
    elif cmd != abi.XEN_SYSCTL_SCHEDOP_putinfo:
        raise OSError(errno.EINVAL, f"scheduler operation {cmd}")
    elif ratelimit & 0xFFFF_FFFF != machine_facts.SCHED_RATELIMIT:
        raise OSError(errno.EOPNOTSUPP, "Linux' scheduler has no such limit")


def _readconsole(dom: Domain, caller: Caller, where: int) -> None:
    """The whole ring at once; an incremental reader that has it gets nothing more."""
    layout = abi.READCONSOLE
    clear, incremental, _, _, index, buffer, count = layout.unpack(caller.read(where, layout.size))
    command = domctl.XEN_SYSCTL_readconsole
    text = dom.hypercall.ask(str, HYPERVISOR_sysctl, command, bool(clear))
    ring = text.encode(errors=ERRORS)
    told = ring[index:] if incremental else ring
    told = told[: min(count, len(told))] if incremental else told[-count:] if count else b""
    caller.write(buffer, told)
    end = index + len(told) if incremental else len(ring)
    caller.write(where, layout.pack(clear, incremental, 0, 0, end & 0xFFFFFFFF, buffer, len(told)))


def _debug_keys(dom: Domain, caller: Caller, where: int) -> None:
    keys, count = abi.DEBUG_KEYS.unpack(caller.read(where, abi.DEBUG_KEYS.size))
    if count > _MAX_KEYS:
        raise OSError(errno.E2BIG, f"{count} keys")
    wanted = caller.read(keys, count).decode("latin-1")
    dom.hypercall.call(HYPERVISOR_sysctl, domctl.XEN_SYSCTL_debug_keys, wanted)


def _availheap(dom: Domain, caller: Caller, where: int) -> None:
    """All memory is as wide as any other."""
    layout = abi.AVAILHEAP
    least, most, node, _ = layout.unpack(caller.read(where, layout.size))
    free = machine(dom)["node_free_pages"]
    if not -1 <= node < len(free):
        raise OSError(errno.EINVAL, f"no node {node}")
    pages = sum(free) if node < 0 else free[node]
    caller.write(where, layout.pack(least, most, node, pages * PAGE_SIZE))


def _cputopoinfo(dom: Domain, caller: Caller, where: int) -> None:
    layout = abi.CPUTOPOINFO
    count, rows = layout.unpack(caller.read(where, layout.size))
    found = machine(dom)
    cpus, nodes = int(found["nr_cpus"]), int(found["nr_nodes"])
    if rows:
        shown = range(min(count, cpus))
        caller.write(rows, b"".join(abi.CPUTOPO.pack(cpu, 0, cpu * nodes // cpus) for cpu in shown))
    caller.write(where, layout.pack(cpus, rows))


def _numainfo(dom: Domain, caller: Caller, where: int) -> None:
    layout = abi.NUMAINFO
    count, memory, distance = layout.unpack(caller.read(where, layout.size))
    found = machine(dom)
    nodes, free = int(found["nr_nodes"]), found["node_free_pages"]
    shown = range(min(count, nodes))
    if memory:
        size = int(found["total_pages"]) // nodes * PAGE_SIZE
        caller.write(memory, b"".join(abi.MEMINFO.pack(size, free[n] * PAGE_SIZE) for n in shown))
    if distance:
        for row in shown:
            line = [10 if row == column else 20 for column in shown]
            caller.write(distance + 4 * row * nodes, struct.pack(f"<{len(line)}I", *line))
    caller.write(where, layout.pack(nodes, memory, distance))


def _pcitopoinfo(dom: Domain, caller: Caller, where: int) -> None:
    """The machine's devices are none of this host's."""
    layout = abi.PCITOPOINFO
    count, devices, nodes = layout.unpack(caller.read(where, layout.size))
    machine(dom)
    count = min(count, MAX_LIST)
    caller.write(nodes, struct.pack("<I", abi.XEN_INVALID_DEV) * count)
    caller.write(where, layout.pack(count, devices, nodes))


def _cpupool_op(dom: Domain, caller: Caller, where: int) -> None:
    """There is one pool with every CPU and every domain."""
    layout = abi.CPUPOOL_OP
    values = list(layout.unpack(caller.read(where, layout.size)))
    op, pool, bitmap, bits = values[0], values[1], values[6], values[7]
    found = machine(dom)
    if op == abi.XEN_SYSCTL_CPUPOOL_OP_INFO:
        if pool not in (0, abi.XEN_SYSCTL_CPUPOOL_PAR_ANY):
            raise OSError(errno.ENOENT, f"no cpupool {pool}")
        values[1:6] = [0, abi.XEN_SCHEDULER_CREDIT2, 0, 0, found["nr_domains"]]
        write_bitmap(caller, bitmap, bits, range(int(found["nr_cpus"])))
    elif op == abi.XEN_SYSCTL_CPUPOOL_OP_FREEINFO:
        write_bitmap(caller, bitmap, bits, ())
    else:
        raise OSError(errno.ENOSYS, f"cpupool operation {op}")
    caller.write(where, layout.pack(*values))


_COMMANDS: Final[dict[int, Callable[[Domain, Caller, int], None]]] = {
    domctl.XEN_SYSCTL_readconsole: _readconsole,
    domctl.XEN_SYSCTL_physinfo: _physinfo,
    domctl.XEN_SYSCTL_sched_id: _sched_id,
    domctl.XEN_SYSCTL_getdomaininfolist: _getdomaininfolist,
    domctl.XEN_SYSCTL_debug_keys: _debug_keys,
    domctl.XEN_SYSCTL_availheap: _availheap,
    domctl.XEN_SYSCTL_cputopoinfo: _cputopoinfo,
    domctl.XEN_SYSCTL_numainfo: _numainfo,
    domctl.XEN_SYSCTL_pcitopoinfo: _pcitopoinfo,
    domctl.XEN_SYSCTL_cpupool_op: _cpupool_op,
    domctl.XEN_SYSCTL_scheduler_op: _scheduler_op,
    domctl.XEN_SYSCTL_get_cpu_levelling_caps: policy.levelling,
    domctl.XEN_SYSCTL_get_cpu_featureset: policy.featureset,
    domctl.XEN_SYSCTL_get_cpu_policy: policy.of_machine,
}
_REFUSED: Final = {
    # What a real Xen says that was built without it, or runs where it has nothing to drive.
    domctl.XEN_SYSCTL_get_pmstat: errno.ENODEV,
    domctl.XEN_SYSCTL_pm_op: errno.ENODEV,
    domctl.XEN_SYSCTL_coverage_op: errno.EOPNOTSUPP,
    domctl.XEN_SYSCTL_livepatch_op: errno.EOPNOTSUPP,
    domctl.XEN_SYSCTL_cpu_hotplug: errno.EOPNOTSUPP,
}
