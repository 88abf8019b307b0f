"""The lab's own /var/lib/xen and the like, for programs of the machine that run in Domain-0.

``hvsim/devnodes/library/place.c`` says which paths of the machine lie here.  What is here is what a
fresh host has: the directories that Xen's packages make, and the hotplug scripts that libxl runs,
which in a lab are the toolstack's to carry out.
"""

import os
import shlex
import sys
from pathlib import Path
from typing import Final

import hvsim

DIRECTORIES: Final = (
    "var/lib/xen",
    "var/lib/xen/dump",
    "var/run/xen",
    "var/log/xen",
    "var/lock",
    "etc/xen/scripts",
)
SCRIPTS: Final = ("block", "vif-bridge")
"""Those that libxl names when a config does not; one that a config names is run as it is."""
_SCRIPT: Final = """#!/bin/sh
# Run by libxl in Domain-0 of a lab; the lab's toolstack does the work.
unset LD_PRELOAD HVSIM_DOOR
PYTHONPATH={path} exec {python} -P -m hvsim.lab.script "$@"
"""


def furnish(place: Path, store: Path) -> None:
    """Make it, with the store's directory where xenstored has it.  Raises OSError."""
    place.mkdir(mode=0o700)
    for directory in DIRECTORIES:
        (place / directory).mkdir(parents=True, exist_ok=True)
    (place / "var/run/xenstored").symlink_to(store)
    root = str(Path(hvsim.__file__).resolve().parents[1])
    text = _SCRIPT.format(path=shlex.quote(root), python=shlex.quote(sys.executable))
    for name in SCRIPTS:
        script = place / "etc/xen/scripts" / name
        script.write_text(text, encoding="utf-8")
        os.chmod(script, 0o700)
