"""What a machine may lack, and the Debian package that brings it: the one way for a row to ask.

What is missing leaves rows out, with a word why, and the others go on.
"""

import os
import shutil
from pathlib import Path

from hvsim.lab.real_daemons import find

PACKAGES = {
    "cc": "gcc, libc6-dev",
    "fio": "fio",
    "iperf3": "iperf3",
    "ping": "iputils-ping",
    "qemu-nbd": "qemu-utils",
    "slirp4netns": "slirp4netns",
    "nsenter": "util-linux",
    "xenstored": "xen-utils-4.17",
    "oxenstored": "xen-utils-4.17",
}
"""Programs that rows ask for."""


class LeftOut(Exception):
    """These rows cannot be measured on this machine; says why."""


def program(name: str) -> str:
    """The path of a program of `PACKAGES`.  Raises LeftOut."""
    found = shutil.which(os.environ.get("CC", name) if name == "cc" else name)
    return found or _missing(name)


def xen_program(name: str) -> str:
    """The same for a daemon itself, not the wrapper on the PATH that wants a running Xen."""
    found: Path | None = find(name)
    return str(found) if found is not None else _missing(name)


def _missing(name: str) -> str:
    raise LeftOut(f"no {name} on this machine (Debian: {PACKAGES[name]})")
