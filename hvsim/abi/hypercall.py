"""Hypercall numbers, domain ids and the calls that have no header of their own here.

Sources: xen/xen.h, xen/version.h. The wire is ours (one msgpack message per call on the domain's
own socket pair), the numbers are Xen's. Names lose their leading ``__``.

Commands beginning with ``HVSIM_`` do not exist in Xen. They do what a guest of real Xen does with
its page tables and shared info page, which a Linux process does with file descriptors; their
numbers start at 0x100, where no Xen command lies.
"""

from types import MappingProxyType
from typing import Final

HYPERVISOR_platform_op: Final = 7
HYPERVISOR_memory_op: Final = 12
HYPERVISOR_multicall: Final = 13
HYPERVISOR_xen_version: Final = 17
HYPERVISOR_console_io: Final = 18
HYPERVISOR_grant_table_op: Final = 20
HYPERVISOR_vcpu_op: Final = 24
HYPERVISOR_xsm_op: Final = 27
HYPERVISOR_sched_op: Final = 29
HYPERVISOR_event_channel_op: Final = 32
HYPERVISOR_physdev_op: Final = 33
HYPERVISOR_hvm_op: Final = 34
HYPERVISOR_sysctl: Final = 35
HYPERVISOR_domctl: Final = 36
HYPERVISOR_argo_op: Final = 39
HYPERVISOR_xenpmu_op: Final = 40
HYPERVISOR_dm_op: Final = 41
HYPERVISOR_hypfs_op: Final = 42
HYPERVISOR_hvsim_op: Final = 0x48
"""Ours: what a domain asks about its own birth, and the lab about its wires."""

NAMES: Final = MappingProxyType(
    {
        value: name.removeprefix("HYPERVISOR_")
        for name, value in tuple(globals().items())
        if name.startswith("HYPERVISOR_")
    }
)
"""Call number -> name without prefix, for ledgers and error texts."""

MESSAGE_MAX: Final = 64 * 1024
"""Largest hypercall message in bytes, request or reply; a larger request gets -E2BIG."""

LATER: Final = 1
"""What a tagged call, ``[[tag], call, cmd, *args]``, is answered with at once when its answer comes
later, as ``[[tag], rc, *results]``. A call without a tag is answered late as well, and its
connection serves no other call until then."""
MAX_TAG: Final = (1 << 31) - 1
MAX_LATER: Final = 256
"""Tagged calls of one process that may be open at a time; a further one gets -EBUSY."""

# ---- domain ids (xen/xen.h) ----

DOMID_FIRST_RESERVED: Final = 0x7FF0
DOMID_SELF: Final = 0x7FF0
DOMID_IO: Final = 0x7FF1
DOMID_XEN: Final = 0x7FF2
DOMID_COW: Final = 0x7FF3
DOMID_INVALID: Final = 0x7FF4
DOMID_IDLE: Final = 0x7FFF
DOMID_MASK: Final = 0x7FFF

XEN_LEGACY_MAX_VCPUS: Final = 32

# ---- console_io (xen/xen.h) ----

CONSOLEIO_write: Final = 0
CONSOLEIO_read: Final = 1

# ---- xen_version (xen/version.h) ----

XENVER_version: Final = 0
XENVER_extraversion: Final = 1
XENVER_capabilities: Final = 3
XENVER_changeset: Final = 4
XENVER_get_features: Final = 6
XENVER_pagesize: Final = 7
XENVER_guest_handle: Final = 8
XENVER_commandline: Final = 9

# ---- ours: event_channel_op ----

HVSIM_EVTCHN_mask: Final = 0x100
HVSIM_EVTCHN_fetch: Final = 0x101

# ---- ours: memory_op ----

HVSIM_MEM_alloc_extent: Final = 0x100
HVSIM_MEM_free_extent: Final = 0x101
HVSIM_MEM_get_extent: Final = 0x102
HVSIM_MEM_get_foreign: Final = 0x103

# ---- ours: grant_table_op ----

HVSIM_GNTTAB_in_use: Final = 0x100

# ---- ours: sysctl ----

HVSIM_SYSCTL_ledger: Final = 0x100
HVSIM_SYSCTL_processes: Final = 0x101
HVSIM_SYSCTL_holdings: Final = 0x102
HVSIM_SYSCTL_ledger_news: Final = 0x103
HVSIM_SYSCTL_advance: Final = 0x104
HVSIM_SYSCTL_tape: Final = 0x105

# ---- ours: domctl ----

HVSIM_DOMCTL_populate: Final = 0x100
HVSIM_DOMCTL_gnttab_seed: Final = 0x101
HVSIM_DOMCTL_set_start_info: Final = 0x102
HVSIM_DOMCTL_load: Final = 0x103
HVSIM_DOMCTL_set_target: Final = 0x104
HVSIM_DOMCTL_spawn: Final = 0x105
HVSIM_DOMCTL_fault: Final = 0x106
HVSIM_DOMCTL_peek: Final = 0x107
HVSIM_DOMCTL_fault_add: Final = 0x108
HVSIM_DOMCTL_fault_remove: Final = 0x109
HVSIM_DOMCTL_fault_list: Final = 0x10A
HVSIM_DOMCTL_lend: Final = 0x140

# ---- ours: hvsim_op ----

HVSIM_OP_start_info: Final = 0
HVSIM_OP_note: Final = 2
HVSIM_OP_faults: Final = 3
HVSIM_OP_fault_fired: Final = 4
HVSIM_OP_fault_cover: Final = 5
HVSIM_OP_park: Final = 6
HVSIM_OP_borrow: Final = 0x40
