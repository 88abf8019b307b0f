"""What descriptors a process holds that are somebody else's as well."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

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
    try:
        own = identities(pid, 3)
    except PermissionError:
        if os.geteuid() == 0:
            raise
        pytest.skip("a program behind walls is looked into by root alone (ptrace(2))")
    found = []
    for other in relatives:
        if other != pid:
            try:
                theirs = identities(other)
            except PermissionError:
                if os.geteuid() == 0:
                    raise
                continue  # its walls keep out its own user
            found += [
                f"{own[name]} of {pid} is {theirs[name]} of {other}: {name}"
                for name in own.keys() & theirs.keys()
            ]
    return found


def relatives(hypervisor: int, program: int) -> list[int]:
    """Every process of a lab but a program and what it has started itself."""
    own = {program, *descendants(program)}
    return [pid for pid in (hypervisor, *descendants(hypervisor)) if pid not in own]
