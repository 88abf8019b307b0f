"""Hypercalls that a program makes through /dev/xen/privcmd.

Arguments lie in the program's memory as Xen's headers lay them out; they are taken apart here and
asked of the hypervisor on the domain's own wire, so that a program gets what its domain may have
and nothing else.  What is not listed here is -ENOSYS, as an old hypervisor has it.

Source: xen/domctl.h, xen/sysctl.h, xen/version.h, xen/event_channel.h; errnos as Xen's common/.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from hvsim.abi import domctl
from hvsim.abi import guest_calls as abi
from hvsim.abi.domctl import GETDOMAININFO, XEN_DOMINF_shutdownshift
from hvsim.abi.event_channel import STATUS, EVTCHNOP_status, EVTCHNSTAT_interdomain, EVTCHNSTAT_virq
from hvsim.abi.hypercall import (
    HYPERVISOR_domctl,
    HYPERVISOR_event_channel_op,
    HYPERVISOR_grant_table_op,
    HYPERVISOR_memory_op,
    HYPERVISOR_sysctl,
    HYPERVISOR_xen_version,
    XENVER_capabilities,
    XENVER_changeset,
    XENVER_commandline,
    XENVER_extraversion,
    XENVER_get_features,
    XENVER_pagesize,
    XENVER_version,
)
from hvsim.abi.memory import PAGE_SIZE, XENMEM_current_reservation, XENMEM_maximum_reservation
from hvsim.domain import machine_facts
from hvsim.domain.hypercall import HypercallError
from hvsim.domain.nodes.caller import Caller
from hvsim.wire.packing import ERRORS

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain

MAX_LIST: Final = 1024
"""Domains of one getdomaininfolist."""
_FLAGS: Final = {
    "dying": domctl.XEN_DOMINF_dying,
    "shutdown": domctl.XEN_DOMINF_shutdown,
    "paused": domctl.XEN_DOMINF_paused,
    "blocked": domctl.XEN_DOMINF_blocked,
    "running": domctl.XEN_DOMINF_running,
}

Handler = Callable[["Domain", Caller, list[int]], int]


def hypercall(dom: Domain, caller: Caller, op: int, args: list[int]) -> int:
    """Make one hypercall for a program; returns what it answers.  Raises OSError."""
    handler = _CALLS.get(op)
    if handler is None:
        raise OSError(errno.ENOSYS, f"hypercall {op}")
    try:
        return handler(dom, caller, args)
    except HypercallError as error:
        raise OSError(error.errno or errno.EINVAL, str(error)) from None


# ---- xen_version --------------------------------------------------------------------------------


def _text(value: str, size: int) -> bytes:
    return value.encode(errors=ERRORS)[: size - 1].ljust(size, b"\0")


def _xen_version(dom: Domain, caller: Caller, args: list[int]) -> int:
    cmd, where = args[0], args[1]
    if cmd in (XENVER_version, XENVER_pagesize):
        return int(dom.hypercall.call(HYPERVISOR_xen_version, cmd)[0])
    if cmd == XENVER_extraversion:
        extra = str(dom.hypercall.call(HYPERVISOR_xen_version, cmd)[0])
        caller.write(where, _text(extra, abi.EXTRAVERSION_SIZE))
    elif cmd == XENVER_capabilities:
        caller.write(where, _text(machine_facts.CAPABILITIES, abi.CAPABILITIES_SIZE))
    elif cmd == XENVER_changeset:
        caller.write(where, bytes(abi.CHANGESET_SIZE))
    elif cmd == XENVER_commandline:
        caller.write(where, bytes(abi.COMMANDLINE_SIZE))
    elif cmd == abi.XENVER_compile_info:
        compiler = machine_facts.compiler().encode()[:63]
        info = (compiler, machine_facts.COMPILED_BY.encode(), b"", b"")
        caller.write(where, abi.COMPILE_INFO.pack(*info))
    elif cmd == abi.XENVER_platform_parameters:
        caller.write(where, bytes(8))
    elif cmd == XENVER_get_features:
        (index, _) = abi.FEATURE_INFO.unpack(caller.read(where, abi.FEATURE_INFO.size))
        if index:
            raise OSError(errno.EINVAL, f"feature map {index}")
        caller.write(where, abi.FEATURE_INFO.pack(index, 0))
    elif cmd == abi.XENVER_guest_handle:
        caller.write(where, bytes(domctl.HANDLE_SIZE))
    elif cmd == abi.XENVER_build_id:
        raise OSError(errno.ENODATA, "no build id")
    else:
        raise OSError(errno.ENOSYS, f"xen_version {cmd}")
    return 0


# ---- domctl -------------------------------------------------------------------------------------


def _pack_info(info: dict[str, Any]) -> bytes:
    flags = sum(bit for word, bit in _FLAGS.items() if info["flags"].get(word))
    if info["flags"].get("shutdown"):
        flags |= (info.get("shutdown_reason") or 0) << XEN_DOMINF_shutdownshift
    values: dict[str, Any] = dict.fromkeys(GETDOMAININFO.offsets, 0)
    values.update(
        domain=info["domid"],
        flags=flags,
        tot_pages=info["tot_pages"],
        max_pages=info["max_pages"],
        cpu_time=info["cpu_time"],
        nr_online_vcpus=info["nr_online_vcpus"],
        max_vcpu_id=info["max_vcpus"] - 1,
        handle=info["handle"],
        shared_info_frame=0,
        pad2=b"",
        arch_config=b"",
    )
    return GETDOMAININFO.pack(*values.values())


def _info(dom: Domain, domid: int) -> dict[str, Any]:
    found: dict[str, Any] = dom.hypercall.call(
        HYPERVISOR_domctl, domctl.XEN_DOMCTL_getdomaininfo, domid
    )[0]
    return found


def _next_info(dom: Domain, domid: int) -> dict[str, Any]:
    """Of the first domain from *domid* on, as Xen has it; libxenctrl walks through all with that.

    Raises OSError(ESRCH) when there is none.
    """
    command = domctl.XEN_SYSCTL_getdomaininfolist
    rows = dom.hypercall.call(HYPERVISOR_sysctl, command, domid, 1)[0]
    if not rows:
        raise OSError(errno.ESRCH, f"no domain from d{domid} on")
    found: dict[str, Any] = rows[0]
    return found


def _domctl(dom: Domain, caller: Caller, args: list[int]) -> int:
    where = args[0]
    cmd, version, domid, *_ = abi.DOMCTL.unpack(caller.read(where, abi.DOMCTL.size))
    if version != domctl.XEN_DOMCTL_INTERFACE_VERSION:
        raise OSError(errno.EACCES, f"domctl interface {version:#x}")
    inner = where + abi.DOMCTL.size
    if cmd == domctl.XEN_DOMCTL_getdomaininfo:
        info = _next_info(dom, domid)
        caller.write(inner, _pack_info(info))
        caller.write(where + abi.DOMCTL.offsets["domain"], struct.pack("<H", info["domid"]))
    elif cmd == domctl.XEN_DOMCTL_getvcpuinfo:
        vcpu, *_ = abi.GETVCPUINFO.unpack(caller.read(inner, abi.GETVCPUINFO.size))
        caller.write(inner, _vcpu_info(_info(dom, domid), vcpu))
    elif cmd == domctl.XEN_DOMCTL_getvcpuaffinity:
        _vcpu_affinity(dom, caller, domid, inner)
    elif cmd == domctl.XEN_DOMCTL_getnodeaffinity:
        _info(dom, domid)
        bitmap, bits = abi.BITMAP.unpack(caller.read(inner, abi.BITMAP.size))
        _write_bitmap(caller, bitmap, bits, int(_machine(dom)["nr_nodes"]))
    elif cmd in (domctl.XEN_DOMCTL_pausedomain, domctl.XEN_DOMCTL_unpausedomain):
        dom.hypercall.call(HYPERVISOR_domctl, cmd, domid)
    else:
        raise OSError(errno.ENOSYS, f"domctl {cmd}")
    return 0


def _vcpu_info(info: dict[str, Any], vcpu: int) -> bytes:
    """All work of a domain is on its vCPU 0; the others wait."""
    if vcpu >= info["max_vcpus"]:
        raise OSError(errno.ESRCH, f"no vCPU {vcpu}")
    first = vcpu == 0
    running = first and bool(info["flags"]["running"])
    cpu_time = info["cpu_time"] if first else 0
    cpu = machine_facts.processor(info["pids"].values()) if first else 0
    return abi.GETVCPUINFO.pack(vcpu, 1, not running, running, cpu_time, cpu)


def _vcpu_affinity(dom: Domain, caller: Caller, domid: int, where: int) -> None:
    """Every vCPU may run everywhere."""
    layout = abi.VCPUAFFINITY
    vcpu, flags, hard, hard_bits, soft, soft_bits = layout.unpack(caller.read(where, layout.size))
    if vcpu >= _info(dom, domid)["max_vcpus"]:
        raise OSError(errno.ESRCH, f"no vCPU {vcpu}")
    if flags & abi.XEN_VCPUAFFINITY_HARD:
        _write_bitmap(caller, hard, hard_bits, hard_bits)
    if flags & abi.XEN_VCPUAFFINITY_SOFT:
        _write_bitmap(caller, soft, soft_bits, soft_bits)


def _write_bitmap(caller: Caller, where: int, nr_bits: int, ones: int) -> None:
    """The first *ones* bits set, in a map of *nr_bits* (xenctl_bitmap)."""
    size = min(nr_bits, 1 << 16) // 8 + bool(nr_bits % 8)
    caller.write(where, ((1 << min(ones, size * 8)) - 1).to_bytes(size, "little"))


# ---- sysctl -------------------------------------------------------------------------------------


def _machine(dom: Domain) -> dict[str, Any]:
    found: dict[str, Any] = dom.hypercall.call(HYPERVISOR_sysctl, domctl.XEN_SYSCTL_physinfo)[0]
    return found


def _sysctl(dom: Domain, caller: Caller, args: list[int]) -> int:
    where = args[0]
    cmd, version = abi.SYSCTL.unpack(caller.read(where, abi.SYSCTL.size))
    if version != domctl.XEN_SYSCTL_INTERFACE_VERSION:
        raise OSError(errno.EACCES, f"sysctl interface {version:#x}")
    handler = _SYSCTLS.get(cmd)
    if handler is None:
        # Whether the caller may is asked first, as Xen does.
        _machine(dom)
        raise OSError(errno.ENOSYS, f"sysctl {cmd}")
    handler(dom, caller, where + abi.SYSCTL.size)
    return 0


def _getdomaininfolist(dom: Domain, caller: Caller, where: int) -> None:
    layout = abi.GETDOMAININFOLIST
    first, most, buffer, _ = layout.unpack(caller.read(where, layout.size))
    rows: list[dict[str, Any]] = []
    after = first
    while len(rows) < min(most, MAX_LIST):
        asked = min(most, MAX_LIST) - len(rows)
        command = domctl.XEN_SYSCTL_getdomaininfolist
        got = dom.hypercall.call(HYPERVISOR_sysctl, command, after, asked)[0]
        if not got:
            break
        rows += got
        after = got[-1]["domid"] + 1
    caller.write(buffer, b"".join(_pack_info(row) for row in rows))
    caller.write(where, layout.pack(first, most, buffer, len(rows)))


def _physinfo(dom: Domain, caller: Caller, where: int) -> None:
    machine = _machine(dom)
    values: dict[str, Any] = dict.fromkeys(abi.PHYSINFO.offsets, 0)
    values.update((key, machine[key]) for key in values if key in machine)
    values.update(
        max_cpu_id=machine["nr_cpus"] - 1,
        max_node_id=machine["nr_nodes"] - 1,
        cpu_khz=machine_facts.cpu_khz(),
        capabilities=abi.XEN_SYSCTL_PHYSCAP_pv | abi.XEN_SYSCTL_PHYSCAP_gnttab_v1,
        max_mfn=machine["total_pages"] - 1,
    )
    del values["hw_cap"]
    caller.write(where, abi.PHYSINFO.pack(*values.values(), *[0] * 8))


def _sched_id(dom: Domain, caller: Caller, where: int) -> None:
    _machine(dom)
    caller.write(where, abi.SCHED_ID.pack(abi.XEN_SCHEDULER_CREDIT2))


def _readconsole(dom: Domain, caller: Caller, where: int) -> None:
    """The whole ring at once; an incremental reader that has it gets nothing more."""
    layout = abi.READCONSOLE
    clear, incremental, _, _, index, buffer, count = layout.unpack(caller.read(where, layout.size))
    command = domctl.XEN_SYSCTL_readconsole
    text = dom.hypercall.call(HYPERVISOR_sysctl, command, bool(clear))[0].encode(errors=ERRORS)
    told = text[index:] if incremental else text
    told = told[: min(count, len(told))] if incremental else told[-count:] if count else b""
    caller.write(buffer, told)
    end = index + len(told) if incremental else len(text)
    caller.write(where, layout.pack(clear, incremental, 0, 0, end & 0xFFFFFFFF, buffer, len(told)))


def _cputopoinfo(dom: Domain, caller: Caller, where: int) -> None:
    layout = abi.CPUTOPOINFO
    count, rows = layout.unpack(caller.read(where, layout.size))
    machine = _machine(dom)
    cpus, nodes = int(machine["nr_cpus"]), int(machine["nr_nodes"])
    if rows:
        shown = range(min(count, cpus))
        caller.write(rows, b"".join(abi.CPUTOPO.pack(cpu, 0, cpu * nodes // cpus) for cpu in shown))
    caller.write(where, layout.pack(cpus, rows))


def _numainfo(dom: Domain, caller: Caller, where: int) -> None:
    layout = abi.NUMAINFO
    count, memory, distance = layout.unpack(caller.read(where, layout.size))
    machine = _machine(dom)
    nodes, free = int(machine["nr_nodes"]), machine["node_free_pages"]
    shown = range(min(count, nodes))
    if memory:
        size = int(machine["total_pages"]) // nodes * PAGE_SIZE
        caller.write(memory, b"".join(abi.MEMINFO.pack(size, free[n] * PAGE_SIZE) for n in shown))
    if distance:
        for row in shown:
            line = [10 if row == column else 20 for column in shown]
            caller.write(distance + 4 * row * nodes, struct.pack(f"<{len(line)}I", *line))
    caller.write(where, layout.pack(nodes, memory, distance))


def _cpupool_op(dom: Domain, caller: Caller, where: int) -> None:
    """There is one pool with every CPU and every domain."""
    layout = abi.CPUPOOL_OP
    values = list(layout.unpack(caller.read(where, layout.size)))
    op, pool, bitmap, bits = values[0], values[1], values[6], values[7]
    machine = _machine(dom)
    if op == abi.XEN_SYSCTL_CPUPOOL_OP_INFO:
        if pool not in (0, abi.XEN_SYSCTL_CPUPOOL_PAR_ANY):
            raise OSError(errno.ENOENT, f"no cpupool {pool}")
        values[1:6] = [0, abi.XEN_SCHEDULER_CREDIT2, 0, 0, machine["nr_domains"]]
        _write_bitmap(caller, bitmap, bits, int(machine["nr_cpus"]))
    elif op == abi.XEN_SYSCTL_CPUPOOL_OP_FREEINFO:
        _write_bitmap(caller, bitmap, bits, 0)
    else:
        raise OSError(errno.ENOSYS, f"cpupool operation {op}")
    caller.write(where, layout.pack(*values))


_SYSCTLS: Final[dict[int, Callable[[Domain, Caller, int], None]]] = {
    domctl.XEN_SYSCTL_readconsole: _readconsole,
    domctl.XEN_SYSCTL_physinfo: _physinfo,
    domctl.XEN_SYSCTL_sched_id: _sched_id,
    domctl.XEN_SYSCTL_getdomaininfolist: _getdomaininfolist,
    domctl.XEN_SYSCTL_cputopoinfo: _cputopoinfo,
    domctl.XEN_SYSCTL_numainfo: _numainfo,
    domctl.XEN_SYSCTL_cpupool_op: _cpupool_op,
}


# ---- the others ---------------------------------------------------------------------------------


def _event_channel_op(dom: Domain, caller: Caller, args: list[int]) -> int:
    cmd, where = args[0], args[1]
    if cmd != EVTCHNOP_status:
        raise OSError(errno.ENOSYS, f"event_channel_op {cmd}")
    asked, number, *_ = STATUS.unpack(caller.read(where, STATUS.size))
    found = dom.events.status(number, asked)
    state = int(found["status"])
    detail = (0, 0)
    if state == EVTCHNSTAT_virq:
        detail = (int(found["virq"]), 0)
    elif found["remote_dom"] >= 0:
        port = int(found["remote_port"]) if state == EVTCHNSTAT_interdomain else 0
        detail = (int(found["remote_dom"]), port)
    caller.write(where, STATUS.pack(asked, number, state, int(found["vcpu"]), *detail))
    return 0


def _memory_op(dom: Domain, caller: Caller, args: list[int]) -> int:
    cmd, where = args[0], args[1]
    if cmd not in (XENMEM_current_reservation, XENMEM_maximum_reservation):
        raise OSError(errno.ENOSYS, f"memory_op {cmd}")
    (domid,) = struct.unpack("<H", caller.read(where, 2))
    return int(dom.hypercall.call(HYPERVISOR_memory_op, cmd, domid)[0])


def _grant_table_op(dom: Domain, caller: Caller, args: list[int]) -> int:
    raise OSError(errno.ENOSYS, f"grant_table_op {args[0]}")


_CALLS: Final[dict[int, Handler]] = {
    HYPERVISOR_xen_version: _xen_version,
    HYPERVISOR_domctl: _domctl,
    HYPERVISOR_sysctl: _sysctl,
    HYPERVISOR_event_channel_op: _event_channel_op,
    HYPERVISOR_memory_op: _memory_op,
    HYPERVISOR_grant_table_op: _grant_table_op,
}
