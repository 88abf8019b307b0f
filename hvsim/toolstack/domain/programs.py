"""The programs that come with us, and run in domains that name none or one of them."""

from typing import Final

NETWORK_PROGRAM: Final = "domains.network:main"
"""A driver domain's whose work is its network stack.  Another says ``net = true`` in its args."""
IDLE_PROGRAM: Final = "domains.guests.idle:main"
"""What stands in for a kernel that nothing here can boot."""
DRIVER_PROGRAM: Final = "domains.driver:main"
"""A driver domain's that names none: it serves disks and interfaces."""
