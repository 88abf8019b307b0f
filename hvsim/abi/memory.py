"""Memory: page size and reservation commands (xen/memory.h)."""

from typing import Final

PAGE_SHIFT: Final = 12
PAGE_SIZE: Final = 1 << PAGE_SHIFT
"""Bytes of a frame (XEN_PAGE_SIZE)."""
PAGE_MASK: Final = PAGE_SIZE - 1
"""The offset bits of an address (Xen's own PAGE_MASK is the complement)."""

XENMEM_increase_reservation: Final = 0
XENMEM_decrease_reservation: Final = 1
XENMEM_maximum_ram_page: Final = 2
XENMEM_get_sharing_freed_pages: Final = 18
XENMEM_get_sharing_shared_pages: Final = 19
XENMEM_get_vnumainfo: Final = 26
XENMEM_current_reservation: Final = 3
XENMEM_maximum_reservation: Final = 4
XENMEM_populate_physmap: Final = 6
XENMEM_add_to_physmap: Final = 7
XENMEM_memory_map: Final = 9
XENMEM_exchange: Final = 11
XENMEM_acquire_resource: Final = 28
XENMEM_resource_ioreq_server: Final = 0
XENMEM_resource_grant_table: Final = 1
XENMEM_resource_grant_table_id_shared: Final = 0
