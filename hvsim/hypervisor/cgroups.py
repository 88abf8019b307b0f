"""A cgroup for each domain with walls: what it may have of the machine, counted by the kernel.

The lab has found where cgroups may be made (``hvsim.lab.cgroups``) and made one there, in which
each domain gets one of its own.  A process enters them itself, before its walls stand.

A memory cgroup counts what its processes touch first: their private memory, frames of their own
domain, and what the kernel holds for them.  A driver touches frames of its peers.

Sources: Linux Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst, cgroup-v1/pids.rst.
"""

import contextlib
import os
from collections.abc import Mapping
from typing import Final

from hvsim.abi.memory import PAGE_SIZE

_MIB: Final = 1 << 20
ROOM: Final = {"guest": 256 * _MIB, "driver": 5120 * _MIB, "program": 512 * _MIB}
"""Beside twice a domain's RAM: its frames, and as much private memory.  More than the limits of its
process allow, so that those are met first; for programs, whose limits count each of them alone,
what all of them may have together."""
TASKS: Final = 600
"""Processes and threads of a domain."""
_SOCKETS: Final = 256 * _MIB


class Cgroups:
    """Those of one lab.

    Args:
        directories: controller ("memory", "pids") -> the lab's cgroup; the same for both where
            there is one hierarchy (version 2).
    """

    def __init__(self, directories: Mapping[str, str]) -> None:
        self._memory = directories["memory"]
        self._pids = directories["pids"]
        self._made: dict[int, list[str]] = {}

    def make(self, domid: int, kind: str, pages: int) -> list[str]:
        """The files through which a process enters the cgroups of a domain, made if need be; none
        when that fails, which the process reports."""
        made = self._made.get(domid)
        limit = 2 * pages * PAGE_SIZE + ROOM[kind]
        try:
            if made is None:
                made = self._make(domid, limit)
                self._made[domid] = made
            elif kind != "guest":
                with contextlib.suppress(OSError):  # the lower limit is the safer one
                    self._raise_limit(made[0], limit)
        except OSError:
            self.remove(domid)
            return []
        return [f"{path}/cgroup.procs" for path in made]

    def remove(self, domid: int) -> bool:
        """A domain is no more; False when something of it is still there."""
        for path in self._made.get(domid, []):
            with contextlib.suppress(FileNotFoundError):
                try:
                    os.rmdir(path)
                except OSError:
                    return False
        self._made.pop(domid, None)
        return True

    def _make(self, domid: int, limit: int) -> list[str]:
        made = list(dict.fromkeys(f"{where}/d{domid}" for where in (self._memory, self._pids)))
        for path in made:
            with contextlib.suppress(FileExistsError):
                os.mkdir(path)
        self._made[domid] = made
        settings: dict[str, int]
        if len(made) == 1:
            settings = {"memory.max": limit, "memory.swap.max": 0}
        else:
            settings = {
                "memory.limit_in_bytes": limit,
                "memory.memsw.limit_in_bytes": limit,
                "memory.kmem.tcp.limit_in_bytes": _SOCKETS,
            }
        for number, (name, value) in enumerate(settings.items()):
            try:
                _write(f"{made[0]}/{name}", value)
            except OSError:
                if not number:  # the others exist only where swap is counted
                    raise
        _write(f"{made[-1]}/pids.max", TASKS)
        return made

    def _raise_limit(self, path: str, limit: int) -> None:
        """A program of the machine comes to a domain that had none: it may take as much."""
        name = "memory.max" if self._memory == self._pids else "memory.limit_in_bytes"
        with open(f"{path}/{name}", encoding="ascii") as file:
            now = file.read().strip()
        if now != "max" and int(now) < limit:
            with contextlib.suppress(OSError):
                _write(f"{path}/memory.memsw.limit_in_bytes", limit)
            _write(f"{path}/{name}", limit)


def _write(path: str, value: object) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(value).encode())
    finally:
        os.close(fd)
