"""Which of our values answers which key of the reference, and which keys nothing here answers.

A key of the reference is written in C: ``sizeof(T)``, ``offsetof(T, member)`` or a constant.
"""

import re
from typing import Final

from hvsim.abi import (
    blkif,
    console,
    devices,
    domctl,
    errno,
    event_channel,
    grant_table,
    guest_calls,
    hypercall,
    hypfs,
    memory,
    netif,
    ring,
    sched,
    shared_info,
    vcpu,
    xenbus,
    xs_wire,
)
from hvsim.abi.layout import Structure

Value = int | str

MODULES: Final = (
    blkif,
    console,
    devices,
    domctl,
    event_channel,
    grant_table,
    guest_calls,
    hypercall,
    hypfs,
    memory,
    netif,
    ring,
    sched,
    shared_info,
    vcpu,
    xenbus,
    xs_wire,
)

LAYOUTS: Final = {
    value.name: value
    for module in MODULES
    for value in vars(module).values()
    if isinstance(value, Structure)
}

_RING_OF_PAGES = re.compile(r"BLK_RING_SIZE\((\d+) pages?\)")
_SIZEOF = re.compile(r"sizeof\((.+)\)")
_OFFSETOF = re.compile(r"offsetof\((.+), (.+)\)")

_SRING_TYPE = "blkif_sring_t"
RING_ENTRIES: Final = {
    "netif_tx_sring_t": (netif.TX_REQUEST, netif.TX_RESPONSE),
    "netif_rx_sring_t": (netif.RX_REQUEST, netif.RX_RESPONSE),
}
_NO_SUCH_PAGE = "a start_info call answers this: a domain is a process and boots from no such page"

# Sections that nothing in the tree speaks yet.
UNUSED_SECTIONS: Final = {
    "hvm_params": "domains are built like PV guests and have no HVM parameters",
    "kbdif": "virtual keyboards are not built yet",
    "fbif": "virtual framebuffers are not built yet",
    "9pfs": "9pfs devices are not built yet",
    "pciif": "PCI pass-through is not built yet",
    "vchan": "vchan is not built yet",
}

# Single keys without a value of ours, each for its own reason.
UNUSED_KEYS: Final = {
    "version": {
        "__XEN_LATEST_INTERFACE_VERSION__": "a compile-time switch of the C headers",
        "__XEN_INTERFACE_VERSION__": "a compile-time switch of the C headers",
    },
    "grant_table": dict.fromkeys(
        (
            "sizeof(grant_entry_v2_t)",
            "sizeof(grant_entry_header_t)",
            "offsetof(grant_entry_v2_t, hdr)",
            "offsetof(grant_entry_v2_t, full_page.frame)",
            "offsetof(grant_entry_v2_t, sub_page.page_off)",
            "offsetof(grant_entry_v2_t, sub_page.length)",
            "offsetof(grant_entry_v2_t, sub_page.frame)",
            "offsetof(grant_entry_v2_t, transitive.trans_domid)",
            "offsetof(grant_entry_v2_t, transitive.gref)",
            "sizeof(grant_status_t)",
            "grant entries v2 per page",
            "sizeof(gnttab_set_version_t)",
            "sizeof(gnttab_get_status_frames_t)",
            "sizeof(gnttab_get_version_t)",
        ),
        "grant tables are version 1; version 2 entries are refused",
    )
    | {
        "sizeof(gnttab_unmap_and_replace_t)": "operates on page table entries; there are none",
        "sizeof(gnttab_swap_grant_ref_t)": "an operation that no driver here uses",
        "sizeof(gnttab_cache_flush_t)": "an operation of Arm",
    },
    "xen": dict.fromkeys(
        (
            "sizeof(start_info_t)",
            "offsetof(start_info_t, store_mfn)",
            "offsetof(start_info_t, store_evtchn)",
            "offsetof(start_info_t, console)",
            "sizeof(struct hvm_start_info)",
            "sizeof(multicall_entry_t)",
            "sizeof(dom0_vga_console_info_t)",
        ),
        _NO_SUCH_PAGE,
    ),
    "memory": dict.fromkeys(
        (
            "sizeof(struct xen_memory_reservation)",
            "offsetof(struct xen_memory_reservation, nr_extents)",
            "offsetof(struct xen_memory_reservation, extent_order)",
            "offsetof(struct xen_memory_reservation, mem_flags)",
            "offsetof(struct xen_memory_reservation, domid)",
            "sizeof(struct xen_add_to_physmap)",
            "sizeof(xen_mem_acquire_resource_t)",
        ),
        "memory calls carry msgpack values, not this structure",
    ),
    "linux_ioctls": {
        "IOCTL_GNTDEV_DMABUF_EXP_FROM_REFS": "there are no DMA buffers",
    },
    "other_io": dict.fromkeys(
        (
            "sizeof(struct xendispl_req)",
            "sizeof(struct xendispl_resp)",
            "sizeof(struct xensnd_req)",
            "sizeof(struct xensnd_resp)",
            "sizeof(struct xen_pvcalls_request)",
            "sizeof(struct xen_pvcalls_response)",
            "sizeof(vscsiif_request_t)",
            "sizeof(vscsiif_response_t)",
        ),
        "this device class is not built yet",
    ),
}


def unused_reason(section: str, key: str) -> str | None:
    """Why nothing here answers this key, or None."""
    return UNUSED_SECTIONS.get(section) or UNUSED_KEYS.get(section, {}).get(key)


def our_value(section: str, key: str) -> Value | None:
    """What our ABI package says to this key of the reference, or None."""
    if pages := _RING_OF_PAGES.fullmatch(key):
        return blkif.blk_ring_size(int(pages[1]))
    if match := _SIZEOF.fullmatch(key):
        return _size(match[1])
    if match := _OFFSETOF.fullmatch(key):
        return _offset(match[1], match[2])
    if section == "xenstore_errors":
        return xs_wire.ERROR_NUMBERS.get(key)
    if key.startswith("XenbusState"):
        return int(xenbus.XenbusState[key.removeprefix("XenbusState")])
    if key == "grant entries v1 per page":
        return grant_table.ENTRIES_PER_FRAME_V1
    return constant(key.removeprefix("__"))


def constant(name: str) -> Value | None:
    """The constant of that name in whichever ABI module has it."""
    for module in (*MODULES, errno):
        value = vars(module).get(name)
        if isinstance(value, int | str):
            return value
    return None


def _size(type_name: str) -> int | None:
    if type_name == _SRING_TYPE:
        return blkif.SRING_SIZE
    if type_name in RING_ENTRIES:
        return ring.SRING_RING + max(layout.size for layout in RING_ENTRIES[type_name])
    if type_name == "union blkif_sring_entry":
        return blkif.ENTRY_SIZE
    if type_name == "xen_domain_handle_t":
        return domctl.HANDLE_SIZE
    if type_name == "struct xen_domctl":
        return guest_calls.DOMCTL_SIZE
    if type_name == "struct xen_sysctl":
        return guest_calls.SYSCTL_SIZE
    layout = LAYOUTS.get(type_name)
    return layout.size if layout else None


def _offset(type_name: str, member: str) -> int | None:
    if type_name == _SRING_TYPE or type_name in RING_ENTRIES:
        return ring.SRING_RING if member == "ring" else ring.SRING.offsets[member]
    variants = (name for name in LAYOUTS if name.partition(", ")[0] == type_name)
    found = (LAYOUTS[name].offsets.get(member) for name in variants)
    return next((offset for offset in found if offset is not None), None)
