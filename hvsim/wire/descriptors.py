"""The descriptors that a process of a domain is born with: each has its fixed number."""

from typing import Final

CONN_FD: Final = 3
"""The hypercall connection."""
UPCALL_FD: Final = 4
"""The eventfd that the hypervisor rings."""
FIRST_FREE_FD: Final = 5
"""The first that is nobody's."""
