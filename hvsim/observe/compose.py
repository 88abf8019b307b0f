"""A picture (`model`) put together from what somebody of the lab has told, and from /proc."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hvsim.linux import proc
from hvsim.observe.model import gone, waits
from hvsim.toolstack.host.parts import DAEMONS, HYPERVISOR

if TYPE_CHECKING:
    from hvsim.lab.rundir import RunDir
    from hvsim.observe.rows import Picture, SeenDomain
    from hvsim.wire.picture import ProcessRow, TroubleRow

LAST_LINES: Final = 3
"""Lines of the console of a domain that has crashed."""


def composed(run: RunDir, found: dict[str, Any], source: str) -> Picture:
    """The picture.

    Args:
        found: what was told: ``domains``, ``processes``, ``troubles``, ``departed``, ``pids``,
            ``lost``, ``unknown``.
        source: by whom.
    """
    domains: list[SeenDomain] = found.get("domains", [])
    processes = [hypervisor(run, found), *_dom0(found.get("processes", []))]
    states = _states(domains, processes, _excused(found))
    for row in (*domains, *processes):
        row["stalled"] = states.get(row["pid"] or 0, "") in proc.STOPPED
    for domain in domains:
        if "c" in domain["state"] and domain["name"]:
            from hvsim.lab.logs import last_lines

            domain["last_words"] = last_lines(run.console_log(domain["name"]), LAST_LINES)
    unknown = str(found.get("unknown") or "")
    departed = {row["domid"]: row for row in found.get("departed", [])}
    troubles: list[TroubleRow] = list(found.get("troubles", []))
    blamed = {one["who"] for one in troubles}
    troubles += [one for one in gone(domains, departed) if one["who"] not in blamed]
    return {
        "lab": run.name,
        "processes": processes,
        "domains": domains,
        "waits": waits(domains, states, states_known=not unknown, departed=departed),
        "troubles": troubles,
        "lost": found.get("lost") or "",
        "source": source,
        "unknown": unknown,
    }


def hypervisor(run: RunDir, found: dict[str, Any]) -> ProcessRow:
    """The hypervisor's row."""
    identity = run.hypervisor
    pid = identity.pid if identity else None
    return process(HYPERVISOR, HYPERVISOR, None, pid or found.get("pids", {}).get(HYPERVISOR))


def _dom0(rows: list[dict[str, Any]]) -> list[ProcessRow]:
    found = [
        process(str(row.get("process") or "Domain-0"), "dom0", 0, row.get("pid"))
        for row in rows
        if row.get("domid") == 0 and row.get("alive", True)
    ]
    order = {name: place for place, name in enumerate(DAEMONS)}
    return sorted(found, key=lambda row: order.get(row["name"], len(order)))


def process(
    name: str, role: str, domid: int | None, pid: int | None, stalled: bool = False
) -> ProcessRow:
    """A row."""
    return {
        "name": name,
        "role": role,
        "domid": domid,
        "pid": pid,
        "walls": [],
        "stalled": stalled,
    }


def _excused(found: dict[str, Any]) -> set[int]:
    """Those that the hypervisor has stopped for a reason of its own, which is told as such: of a
    domain that is paused, or slow by a fault (stopped many times a second)."""
    paused = {row["domid"] for row in found.get("domains", []) if "p" in row["state"]}
    return {
        int(row["pid"])
        for row in found.get("processes", [])
        if (row.get("slowed") or row["domid"] in paused) and not row.get("stalled")
    }


def _states(
    domains: list[SeenDomain], processes: list[ProcessRow], excused: set[int]
) -> dict[int, str]:
    """pid -> the state letter of everybody's process; that of one whose program is stopped is the
    program's."""
    pids = [pid for row in domains for pid in (row["pid"], *row["pids"].values())]
    found: dict[int, str] = {}
    for pid in (*pids, *(row["pid"] for row in processes)):
        if pid in excused:
            found[pid] = "S"
        elif pid and pid not in found:
            family = (pid, *proc.children(pid))
            letters = [state for one in family if (state := proc.state(one))]
            stopped = next((letter for letter in letters if letter in proc.STOPPED), None)
            if letters:
                found[pid] = stopped or letters[0]
    return found
