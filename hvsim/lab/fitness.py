"""Which names a lab may have, where it would run."""

import os
from pathlib import Path

from hvsim.lab.rundir import RunDir, is_lab_name

SOCKET_PATH_MAX = 107
"""sizeof(sun_path) - 1 of unix(7)."""


def unfit_name(name: str, base: Path) -> tuple[str, str] | None:
    """What is wrong with a lab of that name in that directory, and the remedy; None for nothing."""
    if not is_lab_name(name):
        return f"lab name {name!r}", "use letters, digits, '.', '_' and '-', at most 32"
    socket = RunDir(base / name).xenstored
    longest = len(os.fsencode(str(socket)))
    if longest > SOCKET_PATH_MAX:
        return (
            f"{socket}: a socket path of {longest} bytes, the kernel takes {SOCKET_PATH_MAX}",
            "set HVSIM_RUN_DIR to a shorter directory, or use a shorter --name",
        )
    return None
