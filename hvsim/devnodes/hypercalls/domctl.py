"""domctl (xen/domctl.h): looking at domains and acting on them."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from hvsim.abi import domctl
from hvsim.abi import guest_calls as abi
from hvsim.abi.domctl import GETDOMAININFO, XEN_DOMINF_shutdownshift
from hvsim.abi.hypercall import HYPERVISOR_domctl, HYPERVISOR_sysctl
from hvsim.abi.memory import PAGE_SIZE
from hvsim.devnodes.caller import Caller
from hvsim.devnodes.hypercalls import policy
from hvsim.devnodes.hypercalls.common import machine, read_bitmap, write_bitmap
from hvsim.domain import machine_facts
from hvsim.wire.answers import DomainInfo, VcpuInfo
from hvsim.wire.typed import read

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain

_Flag = Literal["dying", "shutdown", "paused", "blocked", "running"]
_FLAGS: Final[dict[_Flag, int]] = {
    "dying": domctl.XEN_DOMINF_dying,
    "shutdown": domctl.XEN_DOMINF_shutdown,
    "paused": domctl.XEN_DOMINF_paused,
    "blocked": domctl.XEN_DOMINF_blocked,
    "running": domctl.XEN_DOMINF_running,
}
_MAX_CPUS: Final = 1024
"""CPUs of a mask that are looked at."""


def pack_info(info: DomainInfo) -> bytes:
    """``xen_domctl_getdomaininfo`` of what the hypervisor says of a domain."""
    state = info["flags"]
    flags = sum(bit for word, bit in _FLAGS.items() if state[word])
    if state["shutdown"]:
        flags |= (info["shutdown_reason"] or 0) << XEN_DOMINF_shutdownshift
    values: dict[str, int | bytes] = dict.fromkeys(GETDOMAININFO.offsets, 0)
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


def domctl_op(dom: Domain, caller: Caller, args: list[int]) -> int:
    """(struct xen_domctl *)"""
    where = args[0]
    cmd, version, domid, *_ = abi.DOMCTL.unpack(caller.read(where, abi.DOMCTL.size))
    if version != domctl.XEN_DOMCTL_INTERFACE_VERSION:
        raise OSError(errno.EACCES, f"domctl interface {version:#x}")
    handler = _COMMANDS.get(cmd)
    if handler is None:
        raise OSError(errno.ENOSYS, f"domctl {cmd}")
    handler(dom, caller, domid, where + abi.DOMCTL.size)
    return 0


def _call(dom: Domain, cmd: int, *args: object) -> list[object]:
    return dom.hypercall.call(HYPERVISOR_domctl, cmd, *args)


def _masks(dom: Domain, cmd: int, *args: object) -> tuple[list[int], list[int]]:
    """The CPUs of the hard and of the soft affinity, as they are after the call."""
    return read(tuple[list[int], list[int]], _call(dom, cmd, *args))


def _look(dom: Domain, domid: int) -> None:
    """Whether there is such a domain, and the caller may ask.  Raises HypercallError."""
    _call(dom, domctl.XEN_DOMCTL_getdomaininfo, domid)


def list_domains(dom: Domain, first: int, most: int) -> list[DomainInfo]:
    """Up to *most* domains from *first* on.  Raises HypercallError."""
    command = domctl.XEN_SYSCTL_getdomaininfolist
    return dom.hypercall.ask(list[DomainInfo], HYPERVISOR_sysctl, command, first, most)


def _getdomaininfo(dom: Domain, caller: Caller, domid: int, where: int) -> None:
    """Of the first domain from *domid* on, as Xen has it; libxenctrl walks through all so."""
    rows = list_domains(dom, domid, 1)
    if not rows:
        raise OSError(errno.ESRCH, f"no domain from d{domid} on")
    caller.write(where, pack_info(rows[0]))
    place = where - abi.DOMCTL.size + abi.DOMCTL.offsets["domain"]
    caller.write(place, struct.pack("<H", rows[0]["domid"]))


def _getvcpuinfo(dom: Domain, caller: Caller, domid: int, where: int) -> None:
    vcpu, *_ = abi.GETVCPUINFO.unpack(caller.read(where, abi.GETVCPUINFO.size))
    command = domctl.XEN_DOMCTL_getvcpuinfo
    info = dom.hypercall.ask(VcpuInfo, HYPERVISOR_domctl, command, domid, vcpu)
    flags = info["online"], info["blocked"], info["running"]
    caller.write(where, abi.GETVCPUINFO.pack(vcpu, *flags, info["cpu_time"], info["cpu"]))


def _getvcpuaffinity(dom: Domain, caller: Caller, domid: int, where: int) -> None:
    layout = abi.VCPUAFFINITY
    vcpu, flags, hard, hard_bits, soft, soft_bits = layout.unpack(caller.read(where, layout.size))
    masks = _masks(dom, domctl.XEN_DOMCTL_getvcpuaffinity, domid, vcpu)
    _tell_affinity(caller, flags, ((hard, hard_bits), (soft, soft_bits)), masks)


def _setvcpuaffinity(dom: Domain, caller: Caller, domid: int, where: int) -> None:
    """What is in effect goes back into the maps."""
    layout = abi.VCPUAFFINITY
    vcpu, flags, hard, hard_bits, soft, soft_bits = layout.unpack(caller.read(where, layout.size))
    wanted = [
        read_bitmap(caller, place, bits, _MAX_CPUS) if flags & flag else []
        for flag, place, bits in (
            (domctl.XEN_VCPUAFFINITY_HARD, hard, hard_bits),
            (domctl.XEN_VCPUAFFINITY_SOFT, soft, soft_bits),
        )
    ]
    masks = _masks(dom, domctl.XEN_DOMCTL_setvcpuaffinity, domid, vcpu, flags & 3, *wanted)
    _tell_affinity(caller, flags, ((hard, hard_bits), (soft, soft_bits)), masks)


def _tell_affinity(
    caller: Caller,
    flags: int,
    places: tuple[tuple[int, int], ...],
    masks: tuple[list[int], list[int]],
) -> None:
    wanted = (domctl.XEN_VCPUAFFINITY_HARD, domctl.XEN_VCPUAFFINITY_SOFT)
    for flag, (place, bits), mask in zip(wanted, places, masks, strict=True):
        if flags & flag:
            write_bitmap(caller, place, bits, mask)


def _getnodeaffinity(dom: Domain, caller: Caller, domid: int, where: int) -> None:
    _look(dom, domid)
    bitmap, bits = abi.BITMAP.unpack(caller.read(where, abi.BITMAP.size))
    write_bitmap(caller, bitmap, bits, range(int(machine(dom)["nr_nodes"])))


def _max_mem(dom: Domain, caller: Caller, domid: int, where: int) -> None:
    (kib,) = abi.MAX_MEM.unpack(caller.read(where, abi.MAX_MEM.size))
    _call(dom, domctl.XEN_DOMCTL_max_mem, domid, min(kib * 1024 // PAGE_SIZE, 0xFFFF_FFFF))


def _sendtrigger(dom: Domain, caller: Caller, domid: int, where: int) -> None:
    trigger, vcpu = abi.SENDTRIGGER.unpack(caller.read(where, abi.SENDTRIGGER.size))
    _call(dom, domctl.XEN_DOMCTL_sendtrigger, domid, trigger, vcpu)


def _scheduler_op(dom: Domain, caller: Caller, domid: int, where: int) -> None:
    """Linux' scheduler shares a CPU evenly: every weight is the same, and nothing is capped."""
    layout = abi.DOMAIN_SCHEDULER_OP
    sched, cmd, weight, cap = layout.unpack(caller.read(where, layout.size))
    _look(dom, domid)
    if sched != abi.XEN_SCHEDULER_CREDIT2:
        raise OSError(errno.EINVAL, f"scheduler {sched}")
    if cmd == domctl.XEN_DOMCTL_SCHEDOP_getinfo:
        even = (machine_facts.SCHED_WEIGHT, machine_facts.SCHED_CAP)
        caller.write(where, layout.pack(sched, cmd, *even))
    elif cmd == domctl.XEN_DOMCTL_SCHEDOP_putinfo:
        if weight not in (0, machine_facts.SCHED_WEIGHT) or cap not in (
            machine_facts.SCHED_CAP,
            abi.SCHED_CAP_UNCHANGED,
        ):
            raise OSError(errno.EOPNOTSUPP, "Linux' scheduler knows no weights and caps of ours")
    else:
        raise OSError(errno.EINVAL, f"scheduler operation {cmd}")


def _plain(cmd: int) -> Callable[[Domain, Caller, int, int], None]:
    def call(dom: Domain, caller: Caller, domid: int, where: int) -> None:
        _call(dom, cmd, domid)

    return call


_COMMANDS: Final[dict[int, Callable[[Domain, Caller, int, int], None]]] = {
    domctl.XEN_DOMCTL_getdomaininfo: _getdomaininfo,
    domctl.XEN_DOMCTL_getvcpuinfo: _getvcpuinfo,
    domctl.XEN_DOMCTL_getvcpuaffinity: _getvcpuaffinity,
    domctl.XEN_DOMCTL_setvcpuaffinity: _setvcpuaffinity,
    domctl.XEN_DOMCTL_getnodeaffinity: _getnodeaffinity,
    domctl.XEN_DOMCTL_max_mem: _max_mem,
    domctl.XEN_DOMCTL_sendtrigger: _sendtrigger,
    domctl.XEN_DOMCTL_scheduler_op: _scheduler_op,
    domctl.XEN_DOMCTL_get_cpu_policy: policy.of_domain,
    **{
        cmd: _plain(cmd)
        for cmd in (
            domctl.XEN_DOMCTL_pausedomain,
            domctl.XEN_DOMCTL_unpausedomain,
            domctl.XEN_DOMCTL_destroydomain,
        )
    },
}
