"""The rows of ``hvsim ps``, from whatever source: the toolstack's memory, or what it wrote down.

Pure but for a look at /proc: a process that is stopped says so nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hvsim.linux import proc
from hvsim.toolstack.host.parts import PROGRAM
from hvsim.wire.picture import DeviceRow, DomainRow

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class About:
    """What only the toolstack knows of a domain."""

    driver: bool = False
    restart: str = "never"
    restarts: int = 0
    deaths: int = 0
    program: str | None = None


def state_letters(flags: Mapping[str, Any]) -> str:
    """The six letters of ``xl list``, from the hypervisor's flags."""
    names = ("running", "blocked", "paused", "shutdown", "crashed", "dying")
    return "".join(
        letter if flags.get(name) else "-" for letter, name in zip("rbpscd", names, strict=True)
    )


def uuid_text(handle: bytes) -> str:
    """A domain's handle as people write it."""
    text = bytes(handle).hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def domain_row(
    info: Row,
    name: str | None,
    health: str | None,
    processes: Iterable[Row],
    devices: list[DeviceRow],
    about: About,
) -> DomainRow:
    """One domain: *info* is the hypervisor's row of it, *processes* its rows of all processes."""
    domid, flags = int(info["domid"]), info["flags"]
    own = [process for process in processes if process.get("domid") == domid]
    # Those that are gone are listed as well; the end of a program is no news.
    own = [p for p in own if p.get("alive") or not str(p.get("process")).startswith(PROGRAM)]
    own.sort(key=lambda process: bool(process.get("alive")))  # who lives has the name
    pids = {str(process.get("process")): process.get("pid") for process in own}
    stalled = any(process.get("stalled") for process in own) or (
        not flags.get("paused")
        and any(_stopped(process.get("pid")) for process in own if not process.get("slowed"))
    )
    return {
        "domid": domid,
        "name": name,
        "role": "dom0" if domid == 0 else "driver" if about.driver else "guest",
        "state": state_letters(flags),
        "stalled": stalled,
        "health": health,
        "pid": pids.get("main") or pids.get("kernel"),
        "pids": pids,
        "memory_mb": info["tot_pages"] // 256,
        "vcpus": info["nr_online_vcpus"],
        "cpu_seconds": round(info["cpu_time"] / 1e9, 3),
        "walls": _missing(own) if domid else [],
        "uuid": uuid_text(info["handle"]),
        "restart": about.restart,
        "restarts": about.restarts,
        "deaths": about.deaths,
        "program": about.program,
        "devices": devices,
    }


def state_number(text: str | None) -> int | None:
    """The number of an XenbusState as it stands in the store; None for anything else."""
    return int(text) if text is not None and text.isdecimal() and len(text) == 1 else None


def _missing(processes: Iterable[Row]) -> list[str]:
    """The walls that the machine does not allow them."""
    return sorted({str(wall) for process in processes for wall in process.get("missing") or ()})


def _stopped(pid: object) -> bool:
    return isinstance(pid, int) and pid > 0 and proc.state(pid) == "T"
