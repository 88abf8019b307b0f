"""Attempts on the hypervisor through the one thing that every domain has: its connection."""

import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgpack

from hvsim.abi import errno as xen_errno
from hvsim.abi.domctl import (
    XEN_DOMCTL_createdomain,
    XEN_DOMCTL_destroydomain,
    XEN_DOMCTL_getdomaininfo,
    XEN_DOMCTL_max_mem,
    XEN_DOMCTL_pausedomain,
    XEN_SYSCTL_getdomaininfolist,
    XEN_SYSCTL_readconsole,
)
from hvsim.abi.event_channel import (
    VIRQ_DOM_EXC,
    EVTCHNOP_alloc_unbound,
    EVTCHNOP_bind_interdomain,
    EVTCHNOP_bind_virq,
    EVTCHNOP_close,
    EVTCHNOP_send,
    EVTCHNOP_status,
)
from hvsim.abi.grant_table import (
    GNTST_NAMES,
    GNTMAP_host_map,
    GNTMAP_readonly,
    GNTST_okay,
    GNTTABOP_copy,
    GNTTABOP_map_grant_ref,
    GNTTABOP_setup_table,
    GNTTABOP_unmap_grant_ref,
)
from hvsim.abi.hypercall import (
    DOMID_SELF,
    HVSIM_DOMCTL_fault,
    HVSIM_DOMCTL_fault_add,
    HVSIM_DOMCTL_fault_list,
    HVSIM_DOMCTL_fault_remove,
    HVSIM_DOMCTL_peek,
    HVSIM_DOMCTL_spawn,
    HVSIM_MEM_alloc_extent,
    HVSIM_MEM_get_extent,
    HVSIM_OP_fault_cover,
    HVSIM_OP_fault_fired,
    HVSIM_OP_note,
    HVSIM_OP_start_info,
    HVSIM_SYSCTL_ledger,
    HYPERVISOR_domctl,
    HYPERVISOR_event_channel_op,
    HYPERVISOR_grant_table_op,
    HYPERVISOR_hvsim_op,
    HYPERVISOR_memory_op,
    HYPERVISOR_sched_op,
    HYPERVISOR_sysctl,
    HYPERVISOR_xen_version,
    XENVER_version,
)
from hvsim.abi.memory import XENMEM_current_reservation
from hvsim.abi.sched import SCHEDOP_remote_shutdown, SHUTDOWN_poweroff
from hvsim.domain.hypercall import HypercallError

if TYPE_CHECKING:
    from tests.hostile.programs.rogue import Scene

Attempt = Callable[["Scene"], str | None]

_CONN: Final = 3
_EVENT: Final = HYPERVISOR_event_channel_op
_GRANT: Final = HYPERVISOR_grant_table_op
_VERSION_CALL: Final = msgpack.packb([HYPERVISOR_xen_version, XENVER_version])


def _raw(data: bytes) -> str:
    """Send bytes as they are; the name of the answer's errno."""
    os.write(_CONN, data)
    reply = msgpack.unpackb(os.read(_CONN, 1 << 17), strict_map_key=False)
    return "ok" if reply[0] == 0 else xen_errno.name(-reply[0])


def _message(*parts: Any) -> Attempt:
    return lambda _scene: _raw(msgpack.packb(list(parts)))


def _bytes(data: bytes) -> Attempt:
    return lambda _scene: _raw(data)


def _call(call: int, cmd: int, *args: Any) -> str:
    return _raw(msgpack.packb([call, cmd, *args]))


@contextmanager
def _connection() -> Iterator[socket.socket]:
    """The hypercall connection as a socket; it stays open."""
    connection = socket.socket(fileno=_CONN)
    try:
        yield connection
    finally:
        connection.detach()


def oversized(_scene: "Scene") -> str:
    with _connection() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    return _raw(msgpack.packb([HYPERVISOR_xen_version, 0, b"x" * 100_000]))


def nested(_scene: "Scene") -> str:
    return _raw(b"\x93\x11\x00" + b"\x91" * 60_000 + b"\xc0")


def _on_victim(call: int, cmd: int, *args: Any) -> Attempt:
    return lambda scene: _call(call, cmd, scene.facts["victim"], *args)


def bind_foreign_port(scene: "Scene") -> str:
    facts = scene.facts
    return _call(_EVENT, EVTCHNOP_bind_interdomain, facts["victim"], facts["other_port"])


def peek(scene: "Scene") -> str:
    facts = scene.facts
    return _call(HYPERVISOR_domctl, HVSIM_DOMCTL_peek, facts["victim"], facts["other_ref"], 0, 16)


def _status(reply: list[Any]) -> str:
    """The first status of a batch."""
    row = reply[0][0]
    status = row[0] if isinstance(row, list) else row
    return "ok" if status == GNTST_okay else GNTST_NAMES[status]


def _map(scene: "Scene", ref: int, flags: int = GNTMAP_host_map, dom: int | None = None) -> str:
    domid = scene.facts["victim"] if dom is None else dom
    reply, fds = scene.dom.hypercall.call_fds(_GRANT, GNTTABOP_map_grant_ref, [[flags, ref, domid]])
    for fd in fds:
        os.close(fd)
    return _status(reply)


def map_not_granted(scene: "Scene") -> str:
    return _map(scene, scene.facts["other_ref"])


def map_unused(scene: "Scene") -> str:
    return _map(scene, 3000)


def map_out_of_range(scene: "Scene") -> str:
    return _map(scene, 2**32 - 1)


def map_readonly_as_writable(scene: "Scene") -> str:
    return _map(scene, scene.facts["ro_ref"])


def map_from_nobody(scene: "Scene") -> str:
    return _map(scene, 8, dom=31000)


def map_batch_too_long(scene: "Scene") -> str:
    rows = [[GNTMAP_host_map | GNTMAP_readonly, 3000, scene.facts["victim"]]] * 600
    return _call(_GRANT, GNTTABOP_map_grant_ref, rows)


def unmap_foreign_handle(scene: "Scene") -> str:
    return _status(scene.dom.hypercall.call(_GRANT, GNTTABOP_unmap_grant_ref, [12345]))


def _copy(scene: "Scene", *row: int) -> str:
    return _status(scene.dom.hypercall.call(_GRANT, GNTTABOP_copy, [list(row)]))


def copy_foreign_frame(scene: "Scene") -> str:
    facts, mine = scene.facts, scene.dom.memory.allocate(1)
    row = (facts["victim"], 0, facts["hidden_gfn"], 0, DOMID_SELF, 0, mine.gfn(0), 0, 64)
    return _copy(scene, *row)


def copy_not_granted(scene: "Scene") -> str:
    facts, mine = scene.facts, scene.dom.memory.allocate(1)
    row = (facts["victim"], 1, facts["other_ref"], 0, DOMID_SELF, 0, mine.gfn(0), 0, 64)
    return _copy(scene, *row)


def copy_into_readonly(scene: "Scene") -> str:
    facts, mine = scene.facts, scene.dom.memory.allocate(1)
    row = (DOMID_SELF, 0, mine.gfn(0), 0, facts["victim"], 1, facts["ro_ref"], 0, 64)
    return _copy(scene, *row)


def copy_beyond_the_page(scene: "Scene") -> str:
    facts, mine = scene.facts, scene.dom.memory.allocate(1)
    row = (facts["victim"], 1, facts["ro_ref"], 4000, DOMID_SELF, 0, mine.gfn(0), 0, 4096)
    return _copy(scene, *row)


def _offer(scene: "Scene", ref: int) -> str:
    """Have the victim map a grant of ours, as a backend would; its status."""
    page = scene.shared.view
    (sequence,) = struct.unpack_from("<I", page, 0)
    struct.pack_into("<I", page, 4, ref)
    struct.pack_into("<I", page, 0, sequence + 1)

    def answered() -> bool:
        scene.dom.events.notify(scene.port)
        return bool(struct.unpack_from("<I", page, 16)[0] == sequence + 1)

    deadline = scene.dom.vcpu.now() + 20.0
    while not answered():
        if scene.dom.vcpu.now() > deadline:
            return "no answer"
        scene.dom.vcpu.block(0.02)
        scene.dom.vcpu.dispatch()
    (status,) = struct.unpack_from("<i", page, 20)
    return "ok" if status == GNTST_okay else GNTST_NAMES[status]


def grant_honestly(scene: "Scene") -> str:
    """The control of the next ones: an honest grant is mapped by the victim."""
    mine = scene.dom.memory.allocate(1)
    return _offer(scene, scene.dom.grants.grant(scene.facts["victim"], mine.gfn(0)))


def grant_foreign_frame(scene: "Scene") -> str:
    return _offer(scene, scene.dom.grants.grant(scene.facts["victim"], 0x0FFF_FFF0))


def grant_plain_memory(scene: "Scene") -> str:
    return _offer(scene, scene.dom.grants.grant(scene.facts["victim"], 1))


def grant_extent_to_two(scene: "Scene") -> str:
    """An extent that the victim has mapped is offered to another: each has one peer for life."""
    mine = scene.dom.memory.allocate(2)
    grants = scene.dom.grants
    first = _offer(scene, grants.grant(scene.facts["victim"], mine.gfn(0)))
    if first != "ok":
        return f"control failed: {first}"
    own = grants.grant(scene.dom.domid, mine.gfn(1))
    return _map(scene, own, dom=scene.dom.domid)


def too_much_memory(scene: "Scene") -> str:
    try:
        scene.dom.memory.allocate(1 << 24)
    except HypercallError as error:
        return xen_errno.name(error.errno or 0)
    return "ok"


def descriptor_flood(_scene: "Scene") -> str:
    """Every request carries 250 descriptors; the hypervisor must not take one of them."""
    with _connection() as connection:
        for _ in range(200):
            socket.send_fds(connection, [_VERSION_CALL], [0] * 250)  # noqa: TID251  as a rogue does
            reply = msgpack.unpackb(os.read(_CONN, 1 << 16))
            if reply[0] != 0:
                return xen_errno.name(-reply[0])
    return "answered"


def flood_without_reading(_scene: "Scene") -> str:
    """Ask until the connection is full; then read all answers, and go on as an honest one."""
    sent, stuck = 0, 0
    with _connection() as connection:
        while stuck < 200 and sent < 50_000:
            try:
                connection.send(_VERSION_CALL, socket.MSG_DONTWAIT)
                sent, stuck = sent + 1, 0
            except BlockingIOError:
                stuck += 1
                os.sched_yield()
    for _ in range(sent):
        if msgpack.unpackb(os.read(_CONN, 1 << 16))[0] != 0:
            return "a wrong answer"
    return f"full, then {_raw(_VERSION_CALL)}" if stuck else "never full"


ATTEMPTS: Final[dict[str, Attempt]] = {
    "garbage": _bytes(b"\xc1\xff\x00garbage"),
    "half a message": _bytes(b"\x92\x11"),
    "no list": _bytes(msgpack.packb("hello")),
    "empty list": _message(),
    "call without command": _message(HYPERVISOR_xen_version),
    "text for a number": _message(HYPERVISOR_xen_version, "0"),
    "float for a domid": _message(_EVENT, EVTCHNOP_alloc_unbound, DOMID_SELF, 1.5),
    "truth for a port": _message(_EVENT, EVTCHNOP_close, True),
    "map for a port": _message(_EVENT, EVTCHNOP_close, {"a": 1}),
    "a number of 64 bits": _message(_EVENT, EVTCHNOP_close, 2**64 - 1),
    "a negative port": _message(_EVENT, EVTCHNOP_close, -1),
    "too many arguments": _message(_EVENT, EVTCHNOP_close, 1, 2, 3),
    "deeply nested": nested,
    "oversized": oversized,
    "unknown call": _message(0x47, 0),
    "unknown command": _message(_EVENT, 0x777),
    "create a domain": _message(HYPERVISOR_domctl, XEN_DOMCTL_createdomain, {}),
    "destroy a sibling": _on_victim(HYPERVISOR_domctl, XEN_DOMCTL_destroydomain),
    "pause a sibling": _on_victim(HYPERVISOR_domctl, XEN_DOMCTL_pausedomain),
    "look at a sibling": _on_victim(HYPERVISOR_domctl, XEN_DOMCTL_getdomaininfo),
    "change a sibling's memory": _on_victim(HYPERVISOR_domctl, XEN_DOMCTL_max_mem, 1),
    "kill a sibling by fault": _on_victim(HYPERVISOR_domctl, HVSIM_DOMCTL_fault, "", "kill"),
    "spawn into dom0": _message(HYPERVISOR_domctl, HVSIM_DOMCTL_spawn, 0, {"name": "x"}),
    "peek at a sibling's page": peek,
    "shut a sibling down": _on_victim(
        HYPERVISOR_sched_op, SCHEDOP_remote_shutdown, SHUTDOWN_poweroff
    ),
    "list domains": _message(HYPERVISOR_sysctl, XEN_SYSCTL_getdomaininfolist, 0, 10),
    "read the console ring": _message(HYPERVISOR_sysctl, XEN_SYSCTL_readconsole, False),
    "read the ledger": _message(HYPERVISOR_sysctl, HVSIM_SYSCTL_ledger, 0, 10),
    "forge a ledger line": _message(HYPERVISOR_hvsim_op, HVSIM_OP_note, "store.quota", 0, "x"),
    "break something": _message(HYPERVISOR_domctl, HVSIM_DOMCTL_fault_add, {}),
    "mend something": _message(HYPERVISOR_domctl, HVSIM_DOMCTL_fault_remove, 1),
    "see what is broken": _message(HYPERVISOR_domctl, HVSIM_DOMCTL_fault_list, 0),
    "a firing of no rule": _message(HYPERVISOR_hvsim_op, HVSIM_OP_fault_fired, 1, "x"),
    "ports for no rule": _message(HYPERVISOR_hvsim_op, HVSIM_OP_fault_cover, 1, True, "", [1]),
    "size of a sibling": _on_victim(HYPERVISOR_memory_op, XENMEM_current_reservation),
    "alloc a port inside a sibling": _on_victim(_EVENT, EVTCHNOP_alloc_unbound, DOMID_SELF),
    "bind a port meant for another": bind_foreign_port,
    "bind a port of nobody": _message(_EVENT, EVTCHNOP_bind_interdomain, 31000, 1),
    "status of a sibling's port": _on_victim(_EVENT, EVTCHNOP_status, 1),
    "send on a port not open": _message(_EVENT, EVTCHNOP_send, 999),
    "bind dom0's VIRQ": _message(_EVENT, EVTCHNOP_bind_virq, VIRQ_DOM_EXC, 0),
    "grant table of a sibling": _on_victim(_GRANT, GNTTABOP_setup_table),
    "a frame out of range": _message(HYPERVISOR_memory_op, HVSIM_MEM_get_extent, 2**40),
    "extent of no pages": _message(HYPERVISOR_memory_op, HVSIM_MEM_alloc_extent, 0, 0),
    "more memory than there is": too_much_memory,
    "start_info with a command of others": _message(HYPERVISOR_hvsim_op, HVSIM_OP_start_info, 0, 0),
    "map a reference granted to another": map_not_granted,
    "map a reference not in use": map_unused,
    "map a reference out of range": map_out_of_range,
    "map a read-only grant as writable": map_readonly_as_writable,
    "map from a domain that is not": map_from_nobody,
    "map 600 at once": map_batch_too_long,
    "unmap a handle of others": unmap_foreign_handle,
    "copy a sibling's frame": copy_foreign_frame,
    "copy what was granted to another": copy_not_granted,
    "copy into a read-only grant": copy_into_readonly,
    "copy beyond the page": copy_beyond_the_page,
    "control: an honest grant": grant_honestly,
    "grant a frame of others": grant_foreign_frame,
    "grant plain memory": grant_plain_memory,
    "grant an extent to two": grant_extent_to_two,
    "descriptor flood": descriptor_flood,
    "hypercall flood without reading": flood_without_reading,
}
