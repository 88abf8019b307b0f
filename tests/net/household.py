"""What a lab holds, seen from outside: descriptors, granted pages, links, nodes of the store."""

import mmap
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hvsim.abi.grant_table import GRANT_ENTRY_V1, GTF_type_mask
from hvsim.xs.blocking import SocketStore

Household = dict[str, Counter[str]]
"""Of each process, domain and the store: what there is, and how much of it."""


def household(ps: Mapping[str, Any], store: SocketStore, *names: str) -> Household:
    """Everything that a hotplugged device of the domains *names* could leave behind.

    *ps* is what ``hvsim ps --json`` says.  Other domains open and close descriptors of their own
    while this looks.  The hypervisor holds one descriptor for each extent
    and event channel, so its descriptors are those too.
    """
    pids = {row["name"]: row["pid"] for row in ps["processes"]}
    domains = {row["name"]: row["pid"] for row in ps["domains"] if row["name"] in names}
    pids |= domains
    found = {f"descriptors of {name}": Counter(_descriptors(pid)) for name, pid in pids.items()}
    for name, pid in domains.items():
        found[f"links of {name}"] = Counter(_links(pid))
    found["granted pages"] = _granted(pids["hypervisor"])
    found["nodes"] = Counter(_nodes(store, ""))
    return found


def _descriptors(pid: int) -> Iterator[str]:
    folder = Path(f"/proc/{pid}/fd")
    for entry in os.listdir(folder):
        try:
            yield os.readlink(folder / entry).partition(":[")[0]  # "socket:[4711]"
        except FileNotFoundError:  # closed meanwhile
            continue


def _links(pid: int) -> Iterator[str]:
    """The links of the network namespace of a process."""
    for line in Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]:
        yield line.partition(":")[0].strip()


def _granted(hypervisor: int) -> Counter[str]:
    """Entries in use of each domain's grant table, in the table's own memory."""
    found: Counter[str] = Counter()
    folder = Path(f"/proc/{hypervisor}/fd")
    for entry in os.listdir(folder):
        try:
            name = os.readlink(folder / entry)
            if not name.endswith("-grants (deleted)") or name in found:
                continue
            fd = os.open(folder / entry, os.O_RDONLY)
        except FileNotFoundError:  # closed meanwhile
            continue
        try:
            with mmap.mmap(fd, os.fstat(fd).st_size, mmap.MAP_SHARED, mmap.PROT_READ) as table:
                flags = table[:: GRANT_ENTRY_V1.size]  # the low byte; the type is in it
        finally:
            os.close(fd)
        found[name] = sum(1 for byte in flags if byte & GTF_type_mask)
    return found


def _nodes(store: SocketStore, path: str) -> Iterator[str]:
    for child in store.directory(path or "/"):
        yield f"{path}/{child}"
        yield from _nodes(store, f"{path}/{child}")


def difference(before: Household, after: Household) -> dict[str, dict[str, int]]:
    """What is more or (negative) less than before; empty when all is as it was."""
    found = {}
    for what in before.keys() | after.keys():
        old, new = before.get(what, Counter()), after.get(what, Counter())
        changed = {key: new[key] - old[key] for key in old | new if new[key] != old[key]}
        if changed:
            found[what] = changed
    return found
