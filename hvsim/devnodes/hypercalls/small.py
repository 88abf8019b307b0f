"""event_channel_op, memory_op, grant_table_op and sched_op: the few commands that tools ask."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Final

from hvsim.abi.event_channel import (
    STATUS,
    EVTCHNOP_status,
    EVTCHNSTAT_closed,
    EVTCHNSTAT_interdomain,
    EVTCHNSTAT_virq,
)
from hvsim.abi.grant_table import (
    QUERY_SIZE,
    GNTST_bad_domain,
    GNTST_okay,
    GNTST_permission_denied,
    GNTTABOP_query_size,
)
from hvsim.abi.hypercall import (
    HYPERVISOR_grant_table_op,
    HYPERVISOR_memory_op,
    HYPERVISOR_sched_op,
)
from hvsim.abi.memory import (
    XENMEM_current_reservation,
    XENMEM_get_sharing_freed_pages,
    XENMEM_get_sharing_shared_pages,
    XENMEM_get_vnumainfo,
    XENMEM_maximum_reservation,
)
from hvsim.abi.sched import (
    REMOTE_SHUTDOWN,
    WATCHDOG,
    SCHEDOP_remote_shutdown,
    SCHEDOP_watchdog,
)
from hvsim.devnodes.caller import Caller
from hvsim.domain.hypercall import HypercallError
from hvsim.wire.typed import read

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain

_RESERVATIONS: Final = (XENMEM_current_reservation, XENMEM_maximum_reservation)


def event_channel_op(dom: Domain, caller: Caller, args: list[int]) -> int:
    """(command, argument)"""
    cmd, where = args[0], args[1]
    if cmd != EVTCHNOP_status:
        raise OSError(errno.ENOSYS, f"event_channel_op {cmd}")
    asked, number, *_ = STATUS.unpack(caller.read(where, STATUS.size))
    found = dom.events.status(number, asked)
    state = found["status"]
    detail = (0, 0)
    if state == EVTCHNSTAT_virq:
        detail = (found["virq"], 0)
    elif state != EVTCHNSTAT_closed:
        port = found["remote_port"] if state == EVTCHNSTAT_interdomain else 0
        detail = (found["remote_dom"], port)
    caller.write(where, STATUS.pack(asked, number, state, found["vcpu"], *detail))
    return 0


def memory_op(dom: Domain, caller: Caller, args: list[int]) -> int:
    """(command, argument)"""
    cmd, where = args[0], args[1]
    if cmd in (XENMEM_get_sharing_freed_pages, XENMEM_get_sharing_shared_pages):
        return 0  # nothing is shared behind domains' backs
    if cmd not in (*_RESERVATIONS, XENMEM_get_vnumainfo):
        raise OSError(errno.ENOSYS, f"memory_op {cmd}")
    (domid,) = struct.unpack("<H", caller.read(where, 2))
    if cmd == XENMEM_get_vnumainfo:
        dom.hypercall.call(HYPERVISOR_memory_op, XENMEM_current_reservation, domid)
        raise OSError(errno.EOPNOTSUPP, f"d{domid} has no NUMA nodes of its own")
    return dom.hypercall.ask(int, HYPERVISOR_memory_op, cmd, domid)


def grant_table_op(dom: Domain, caller: Caller, args: list[int]) -> int:
    """(command, array, how many); what is wrong with an element is said in its status."""
    cmd, where, count = args[0], args[1], args[2]
    if cmd != GNTTABOP_query_size:
        raise OSError(errno.ENOSYS, f"grant_table_op {cmd}")
    if count != 1:
        raise OSError(errno.EINVAL, f"query_size of {count} domains")
    domid, *_ = QUERY_SIZE.unpack(caller.read(where, QUERY_SIZE.size))
    status, frames, most = GNTST_okay, 0, 0
    try:
        told = dom.hypercall.call(HYPERVISOR_grant_table_op, cmd, domid)
        frames, most = read(tuple[int, int], told)
    except HypercallError as error:
        denied = error.errno == errno.EPERM
        status = GNTST_permission_denied if denied else GNTST_bad_domain
    caller.write(where, QUERY_SIZE.pack(domid, frames, most, status))
    return 0


def sched_op(dom: Domain, caller: Caller, args: list[int]) -> int:
    """(command, argument)"""
    cmd, where = args[0], args[1]
    if cmd == SCHEDOP_watchdog:
        number, timeout = WATCHDOG.unpack(caller.read(where, WATCHDOG.size))
        return dom.hypercall.ask(int, HYPERVISOR_sched_op, cmd, number, timeout)
    if cmd == SCHEDOP_remote_shutdown:
        domid, reason = REMOTE_SHUTDOWN.unpack(caller.read(where, REMOTE_SHUTDOWN.size))
        dom.hypercall.call(HYPERVISOR_sched_op, cmd, domid, reason)
        return 0
    raise OSError(errno.ENOSYS, f"sched_op {cmd}")
