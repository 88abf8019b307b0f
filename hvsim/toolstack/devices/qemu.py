"""Where the QEMU of this machine is."""

import shutil
from typing import Final

PROGRAMS: Final = ("/usr/libexec/xen-qemu-system-i386", "qemu-system-i386")
"""Where libxl finds Debian's (package qemu-system-xen), and what one from elsewhere is called; it
must have been built with Xen support."""
INSTALL: Final = "install Debian's qemu-system-xen (apt install qemu-system-xen)"


def program() -> str | None:
    """The QEMU of this machine, None when there is none."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)
