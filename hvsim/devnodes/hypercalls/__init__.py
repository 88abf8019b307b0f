"""Hypercalls that a program makes through /dev/xen/privcmd.

Arguments lie in the program's memory as Xen's headers lay them out; they are taken apart here and
asked of the hypervisor on the domain's own wire, so that a program gets what its domain may have
and nothing else.  What is not listed here is -ENOSYS, as an old hypervisor has it: a refusal is
better than an answer that looks right.

    version.py    xen_version          domctl.py    domctl        policy.py    what a CPU can do
    sysctl.py     sysctl               hypfs.py     hypfs_op      small.py     the others

Source: xen/domctl.h, xen/sysctl.h, xen/version.h, xen/hypfs.h ...; errnos as Xen's common/.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Final

from hvsim.abi import guest_calls as abi
from hvsim.abi.hypercall import (
    HYPERVISOR_domctl,
    HYPERVISOR_event_channel_op,
    HYPERVISOR_grant_table_op,
    HYPERVISOR_hypfs_op,
    HYPERVISOR_memory_op,
    HYPERVISOR_multicall,
    HYPERVISOR_sched_op,
    HYPERVISOR_sysctl,
    HYPERVISOR_xen_version,
)
from hvsim.devnodes.caller import Caller
from hvsim.devnodes.hypercalls import small
from hvsim.devnodes.hypercalls.common import Handler
from hvsim.devnodes.hypercalls.domctl import domctl_op
from hvsim.devnodes.hypercalls.hypfs import hypfs_op
from hvsim.devnodes.hypercalls.sysctl import sysctl_op
from hvsim.devnodes.hypercalls.version import xen_version
from hvsim.domain.hypercall import HypercallError

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain

MAX_MULTICALL: Final = 64
"""Calls of one multicall."""


def hypercall(dom: Domain, caller: Caller, op: int, args: list[int]) -> int:
    """Make one hypercall for a program; returns what it answers.  Raises OSError."""
    handler = _CALLS.get(op)
    if handler is None:
        raise OSError(errno.ENOSYS, f"hypercall {op}")
    try:
        return handler(dom, caller, args)
    except HypercallError as error:
        raise OSError(error.errno or errno.EINVAL, str(error)) from None


def _multicall(dom: Domain, caller: Caller, args: list[int]) -> int:
    """(list, how many): each has a result of its own.  libxenctrl asks every memory_op so, because
    its answer may be longer than an int."""
    where, count = args[0], args[1]
    if count > MAX_MULTICALL:
        raise OSError(errno.E2BIG, f"{count} calls in one")
    layout = abi.MULTICALL_ENTRY
    for number in range(count):
        at = where + number * layout.size
        op, _, *arguments = layout.unpack(caller.read(at, layout.size))
        try:
            if op == HYPERVISOR_multicall:
                raise OSError(errno.EINVAL, "a multicall within one")
            result = hypercall(dom, caller, op, arguments)
        except OSError as error:
            result = -(error.errno or errno.EINVAL)
        caller.write(at + layout.offsets["result"], struct.pack("<q", result))
    return 0


_CALLS: Final[dict[int, Handler]] = {
    HYPERVISOR_xen_version: xen_version,
    HYPERVISOR_domctl: domctl_op,
    HYPERVISOR_sysctl: sysctl_op,
    HYPERVISOR_hypfs_op: hypfs_op,
    HYPERVISOR_multicall: _multicall,
    HYPERVISOR_event_channel_op: small.event_channel_op,
    HYPERVISOR_memory_op: small.memory_op,
    HYPERVISOR_grant_table_op: small.grant_table_op,
    HYPERVISOR_sched_op: small.sched_op,
}
