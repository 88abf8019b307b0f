"""CPU policies and featuresets: what a CPU can do, for xen-cpuid and libxl.

They are the CPU's own answers (``hvsim/domain/cpuid.py``), for every policy of a PV guest.  An HVM
guest is none of this host: -EOPNOTSUPP, as a Xen without HVM says.

Source: xen/sysctl.h (get_cpu_policy, get_cpu_featureset), Xen's arch/x86/sysctl.c.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Final

from hvsim.abi import domctl
from hvsim.abi import guest_calls as abi
from hvsim.abi.hypercall import HYPERVISOR_domctl
from hvsim.devnodes.caller import Caller
from hvsim.devnodes.hypercalls.common import machine
from hvsim.domain import cpuid

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain

MAX_LEAVES: Final = 128
"""What a reader is told to make room for."""
_MSRS: Final = (0xCE, 0x10A)
"""INTEL_PLATFORM_INFO and ARCH_CAPABILITIES, the registers of a policy: no guest reads one here."""
_POLICIES: Final = 6
_HVM_POLICIES: Final = (3, 5)
_FEATURESETS: Final = 6
_HVM_FEATURESETS: Final = (3, 5)


def _check(index: int, count: int, hvm: tuple[int, ...]) -> None:
    if index >= count:
        raise OSError(errno.EINVAL, f"there is no policy {index}")
    if index in hvm:
        raise OSError(errno.EOPNOTSUPP, "there are no HVM guests here")


def _leaves() -> list[cpuid.Leaf]:
    try:
        return cpuid.leaves()
    except cpuid.NoCpuid as failure:
        raise OSError(errno.EOPNOTSUPP, str(failure)) from None


def _write(caller: Caller, nr_leaves: int, leaves: int) -> int:
    """Returns how many there are."""
    if not leaves:
        return MAX_LEAVES
    found = _leaves()
    if len(found) > nr_leaves:
        raise OSError(errno.ENOBUFS, f"{len(found)} leaves")
    caller.write(leaves, b"".join(struct.pack("<6I", *leaf) for leaf in found))
    return len(found)


def _write_msrs(caller: Caller, nr_msrs: int, msrs: int) -> int:
    if msrs:
        if len(_MSRS) > nr_msrs:
            raise OSError(errno.ENOBUFS, f"{len(_MSRS)} registers")
        caller.write(msrs, b"".join(struct.pack("<2IQ", index, 0, 0) for index in _MSRS))
    return len(_MSRS)


def of_machine(dom: Domain, caller: Caller, where: int) -> None:
    """XEN_SYSCTL_get_cpu_policy."""
    layout = abi.CPU_POLICY
    index, nr_leaves, nr_msrs, _, leaves, msrs = layout.unpack(caller.read(where, layout.size))
    machine(dom)
    _check(index, _POLICIES, _HVM_POLICIES)
    count = _write(caller, nr_leaves, leaves)
    registers = _write_msrs(caller, nr_msrs, msrs)
    caller.write(where, layout.pack(index, count, registers, 0, leaves, msrs))


def of_domain(dom: Domain, caller: Caller, domid: int, where: int) -> None:
    """XEN_DOMCTL_get_cpu_policy."""
    layout = abi.DOMAIN_CPU_POLICY
    nr_leaves, nr_msrs, leaves, msrs, *rest = layout.unpack(caller.read(where, layout.size))
    dom.hypercall.call(HYPERVISOR_domctl, domctl.XEN_DOMCTL_getdomaininfo, domid)
    count = _write(caller, nr_leaves, leaves)
    registers = _write_msrs(caller, nr_msrs, msrs)
    caller.write(where, layout.pack(count, registers, leaves, msrs, *rest))


def featureset(dom: Domain, caller: Caller, where: int) -> None:
    """XEN_SYSCTL_get_cpu_featureset."""
    layout = abi.CPU_FEATURESET
    index, room, features = layout.unpack(caller.read(where, layout.size))
    machine(dom)
    _check(index, _FEATURESETS, _HVM_FEATURESETS)
    count = cpuid.FEATURE_WORDS
    if features:
        try:
            words = cpuid.featureset()
        except cpuid.NoCpuid as failure:
            raise OSError(errno.EOPNOTSUPP, str(failure)) from None
        count = min(room, len(words))
        caller.write(features, struct.pack(f"<{count}I", *words[:count]))
    caller.write(where, layout.pack(index, count, features))
    if features and room < cpuid.FEATURE_WORDS:
        raise OSError(errno.ENOBUFS, f"{cpuid.FEATURE_WORDS} words")


def levelling(dom: Domain, caller: Caller, where: int) -> None:
    """XEN_SYSCTL_get_cpu_levelling_caps: nothing of what the CPU says can be masked."""
    machine(dom)
    caller.write(where, struct.pack("<I", 0))
