"""xen_version (xen/version.h)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from hvsim.abi import guest_calls as abi
from hvsim.abi.hypercall import (
    HYPERVISOR_xen_version,
    XENVER_capabilities,
    XENVER_changeset,
    XENVER_commandline,
    XENVER_extraversion,
    XENVER_get_features,
    XENVER_guest_handle,
    XENVER_pagesize,
    XENVER_version,
)
from hvsim.devnodes.caller import Caller
from hvsim.devnodes.hypercalls.common import text
from hvsim.domain import machine_facts

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain

_XENFEAT_DOM0: Final = 1 << 11


def xen_version(dom: Domain, caller: Caller, args: list[int]) -> int:
    """(command, where)"""
    cmd, where = args[0], args[1]
    if cmd in (XENVER_version, XENVER_pagesize):
        return dom.hypercall.ask(int, HYPERVISOR_xen_version, cmd)
    if cmd == XENVER_extraversion:
        extra = dom.hypercall.ask(str, HYPERVISOR_xen_version, cmd)
        caller.write(where, text(extra, abi.EXTRAVERSION_SIZE))
    elif cmd == XENVER_capabilities:
        caller.write(where, text(machine_facts.CAPABILITIES, abi.CAPABILITIES_SIZE))
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
        features = _XENFEAT_DOM0 if dom.domid == 0 else 0
        caller.write(where, abi.FEATURE_INFO.pack(index, features))
    elif cmd == XENVER_guest_handle:
        caller.write(where, dom.hypercall.ask(bytes, HYPERVISOR_xen_version, cmd))
    elif cmd == abi.XENVER_build_id:
        raise OSError(errno.ENODATA, "no build id")
    else:
        raise OSError(errno.ENOSYS, f"xen_version {cmd}")
    return 0
