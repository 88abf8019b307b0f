"""What is said when a wall cannot be raised: which one, why not, and what can be done.

A domain without all of its walls does not start, unless the lab says that it may.
"""

import os
from typing import Final

from hvsim.wire.walls import WHAT_THERE_IS

_NAMESPACES: Final = (
    "allow them (sysctl user.max_user_namespaces; on Ubuntu also "
    "kernel.apparmor_restrict_unprivileged_userns=0; in a container, its privileges)"
)
_REMEDIES: Final = {
    "user-ns": _NAMESPACES,
    "pid-ns": _NAMESPACES,
    "mount-ns": _NAMESPACES,
    "net-ns": _NAMESPACES,
    "ipc-ns": _NAMESPACES,
    "root": "it needs Linux 5.12 and the right to mount",
    "own-uid": "run the lab as an ordinary user",
    "seccomp": "use a kernel with seccomp filters, on x86-64 or arm64",
}
_CALLED: Final = {
    "user-ns": "user namespaces",
    "pid-ns": "process namespaces",
    "mount-ns": "mount namespaces",
    "net-ns": "network namespaces",
    "ipc-ns": "IPC namespaces",
    "root": "a root directory of its own",
    "own-uid": "a user id of its own",
}


class WallError(Exception):
    """A wall that cannot be raised.  The text is one sentence, with the remedy.

    Attributes:
        wall: its name, as under WALLS.
        why: what the machine said.
    """

    def __init__(self, wall: str, why: str) -> None:
        self.wall = wall
        self.why = why
        super().__init__(sentence(wall, why))


def sentence(wall: str, why: str) -> str:
    """Why a domain does not start."""
    called = _CALLED.get(wall)
    name = f"{wall} ({called})" if called else wall
    remedy = f"; {_REMEDIES[wall]}" if wall in _REMEDIES else ""
    return (
        f"does not start without its walls: {name} cannot be had: {why}{remedy}, "
        f'or write walls = "{WHAT_THERE_IS}" in the lab file'
    )


def reason(error: OSError) -> str:
    """What an error says to a person, the path it names included."""
    text = error.strerror or os.strerror(error.errno or 0)
    return f"{os.fsdecode(error.filename)}: {text}" if error.filename else text
