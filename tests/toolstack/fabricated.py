"""A census of a host that is made up: dom0's four processes, a driver domain and a guest."""

from collections.abc import Iterable
from typing import Any

from hvsim.toolstack.host.trouble import Census

PIDS = {"xenstored": 11, "kernel": 12, "xenconsoled": 13, "toolstack": 14}
NAMES = {1: "storage", 2: "web"}


def process(
    domid: int, name: str, pid: int, alive: bool = True, status: int | None = None
) -> dict[str, Any]:
    return {
        "domid": domid,
        "process": name,
        "pid": pid,
        "alive": alive,
        "gone": not alive,
        "stalled": False,
        "slowed": False,
        "struck": False,
        "status": status,
    }


def domain(domid: int, **flags: bool) -> dict[str, Any]:
    return {"domid": domid, "flags": flags}


def census(
    still: Iterable[int] = (),
    processes: list[dict[str, Any]] | None = None,
    domains: list[dict[str, Any]] | None = None,
    **more: Any,
) -> Census:
    rows = [process(0, name, pid) for name, pid in PIDS.items()]
    rows += [process(1, "main", 21), process(2, "main", 22)]
    stopped = set(still)
    return Census(
        rows if processes is None else processes,
        [domain(0), domain(1), domain(2)] if domains is None else domains,
        NAMES,
        still=lambda pid: pid in stopped,
        **more,
    )
