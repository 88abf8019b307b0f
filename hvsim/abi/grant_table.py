"""Grant tables: entries, flags, commands and status codes (xen/grant_table.h)."""

from types import MappingProxyType
from typing import Final

from hvsim.abi.layout import Layout

GNTTABOP_map_grant_ref: Final = 0
GNTTABOP_unmap_grant_ref: Final = 1
GNTTABOP_setup_table: Final = 2
GNTTABOP_dump_table: Final = 3
GNTTABOP_transfer: Final = 4
GNTTABOP_copy: Final = 5
GNTTABOP_query_size: Final = 6
GNTTABOP_unmap_and_replace: Final = 7
GNTTABOP_set_version: Final = 8
GNTTABOP_get_status_frames: Final = 9
GNTTABOP_get_version: Final = 10
GNTTABOP_swap_grant_ref: Final = 11
GNTTABOP_cache_flush: Final = 12

# ---- the shared table, version 1: 8 bytes per reference, 512 per frame ----

GRANT_ENTRY_V1: Final = Layout("grant_entry_v1_t", [("flags", "H"), ("domid", "H"), ("frame", "I")])
ENTRIES_PER_FRAME_V1: Final = 4096 // GRANT_ENTRY_V1.size
MAX_FRAMES: Final = 64
"""Frames of a grant table: real Xen's default ``gnttab_max_frames`` for a domU."""
MAX_ENTRIES_V1: Final = MAX_FRAMES * ENTRIES_PER_FRAME_V1

GNTTAB_NR_RESERVED_ENTRIES: Final = 8
GNTTAB_RESERVED_CONSOLE: Final = 0
GNTTAB_RESERVED_XENSTORE: Final = 1

# ---- flags of an entry ----

GTF_invalid: Final = 0
GTF_permit_access: Final = 1
GTF_accept_transfer: Final = 2
GTF_transitive: Final = 3
GTF_type_mask: Final = 3
GTF_readonly: Final = 1 << 2
GTF_reading: Final = 1 << 3
GTF_writing: Final = 1 << 4
GTF_PWT: Final = 1 << 5
GTF_PCD: Final = 1 << 6
GTF_PAT: Final = 1 << 7
GTF_sub_page: Final = 1 << 8
GTF_transfer_committed: Final = 1 << 2
GTF_transfer_completed: Final = 1 << 3

# ---- flags of a mapping ----

GNTMAP_device_map: Final = 1 << 0
GNTMAP_host_map: Final = 1 << 1
GNTMAP_readonly: Final = 1 << 2
GNTMAP_application_map: Final = 1 << 3
GNTMAP_contains_pte: Final = 1 << 4

GNTCOPY_source_gref: Final = 1 << 0
GNTCOPY_dest_gref: Final = 1 << 1

# ---- status codes ----

GNTST_okay: Final = 0
GNTST_general_error: Final = -1
GNTST_bad_domain: Final = -2
GNTST_bad_gntref: Final = -3
GNTST_bad_handle: Final = -4
GNTST_bad_virt_addr: Final = -5
GNTST_bad_dev_addr: Final = -6
GNTST_no_device_space: Final = -7
GNTST_permission_denied: Final = -8
GNTST_bad_page: Final = -9
GNTST_bad_copy_arg: Final = -10
GNTST_address_too_big: Final = -11
GNTST_eagain: Final = -12
GNTST_no_space: Final = -13

GNTST_NAMES: Final = MappingProxyType(
    {
        value: name
        for name, value in tuple(globals().items())
        if name.startswith("GNTST_") and isinstance(value, int)
    }
)
"""Status -> name (``-8 -> "GNTST_permission_denied"``)."""

GNTTABOP_error_msgs: Final = (
    "okay",
    "undefined error",
    "unrecognised domain id",
    "invalid grant reference",
    "invalid mapping handle",
    "invalid virtual address",
    "invalid device address",
    "no spare translation slot in the I/O MMU",
    "permission denied",
    "bad page",
    "copy arguments cross page boundary",
    "page address size too large",
    "operation not done; try again",
    "out of space",
)
"""The header's own texts, indexed by the negative of the status."""


def status_text(status: int) -> str:
    """What a status code means, in the words of the header."""
    if 0 <= -status < len(GNTTABOP_error_msgs):
        return GNTTABOP_error_msgs[-status]
    return f"unknown status {status}"


# ---- argument structures (our wire carries the members as msgpack values) ----

MAP_GRANT_REF: Final = Layout(
    "gnttab_map_grant_ref_t",
    [
        ("host_addr", "Q"),
        ("flags", "I"),
        ("ref", "I"),
        ("dom", "H"),
        ("status", "h"),
        ("handle", "I"),
        ("dev_bus_addr", "Q"),
    ],
)
UNMAP_GRANT_REF: Final = Layout(
    "gnttab_unmap_grant_ref_t",
    [("host_addr", "Q"), ("dev_bus_addr", "Q"), ("handle", "I"), ("status", "h")],
)
SETUP_TABLE: Final = Layout(
    "gnttab_setup_table_t",
    [("dom", "H"), ("nr_frames", "I"), ("status", "h"), ("frame_list", "Q")],
)
TRANSFER: Final = Layout(
    "gnttab_transfer_t", [("mfn", "Q"), ("domid", "H"), ("ref", "I"), ("status", "h")]
)
COPY: Final = Layout(
    "gnttab_copy_t",
    [
        ("source", "Q"),
        ("source.domid", "H"),
        ("source.offset", "H"),
        ("source.pad", "I"),
        ("dest", "Q"),
        ("dest.domid", "H"),
        ("dest.offset", "H"),
        ("dest.pad", "I"),
        ("len", "H"),
        ("flags", "H"),
        ("status", "h"),
    ],
)
QUERY_SIZE: Final = Layout(
    "gnttab_query_size_t",
    [("dom", "H"), ("nr_frames", "I"), ("max_nr_frames", "I"), ("status", "h")],
)
