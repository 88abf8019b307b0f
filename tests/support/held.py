"""What descriptors a process holds that are somebody else's as well."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from hvsim.lab.processes import descendants


def identities(pid: int, first: int = 0) -> dict[str, int]:
    """What a process has open that can be told from all others of its kind, and under which number:
    sockets, pipes, memfds, eventfds, terminals; from number *first* on."""
    found: dict[str, int] = {}
    folder = Path(f"/proc/{pid}/fd")
    for entry in folder.iterdir():
        if int(entry.name) < first:
            continue
        try:
            name = os.readlink(entry)
            info = entry.stat()
            if name.startswith("anon_inode:"):
                text = (folder.parent / "fdinfo" / entry.name).read_text()
                number = re.search(r"^eventfd-id:\s*(\d+)", text, re.M)
                name = f"eventfd {number[1]}" if number else ""
            elif name.startswith("/memfd:"):
                name = f"memfd {info.st_dev}:{info.st_ino}"
            elif name.startswith("/dev/pts/"):
                name = f"terminal {info.st_dev}:{info.st_ino}"
            elif not name.startswith(("socket:", "pipe:")):
                name = ""
        except OSError:
            continue  # closed meanwhile
        if name:
            found[name] = int(entry.name)
    return found


def shared(pid: int, relatives: Iterable[int]) -> list[str]:
    """What a program holds beyond 0, 1 and 2 that one of *relatives* holds as well."""
    own = identities(pid, 3)
    found = []
    for other in relatives:
        if other != pid:
            theirs = identities(other)
            found += [
                f"{own[name]} of {pid} is {theirs[name]} of {other}: {name}"
                for name in own.keys() & theirs.keys()
            ]
    return found


def is_keeper(pid: int) -> bool:
    """Whether a process only keeps the process namespace of a domain's programs."""
    return Path(f"/proc/{pid}/comm").read_text().strip() == "init"


def relatives(hypervisor: int, program: int) -> list[int]:
    """Every process of a lab but a program and what it has started itself.

    Keepers are closed to their own user (PR_SET_DUMPABLE): that they hold nothing root sees.
    """
    own = {program, *descendants(program)}
    others = [pid for pid in (hypervisor, *descendants(hypervisor)) if pid not in own]
    return [pid for pid in others if os.geteuid() == 0 or not is_keeper(pid)]
