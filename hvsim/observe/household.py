"""Everything that a running lab consists of, as one value: what `hvsim ps` shows.

It is asked from the toolstack. When that is dead, stopped or does not answer, the hypervisor and
the store are asked instead (`bystanders`), and when the hypervisor stands still, /proc.
"""

from typing import Any, Final

from hvsim.lab.control import Control, ControlError
from hvsim.lab.door import DoorError
from hvsim.lab.inquiry import HYPERVISOR, Inquiry
from hvsim.lab.logs import last_lines
from hvsim.lab.rundir import RunDir
from hvsim.linux import proc
from hvsim.observe.waits import gone, waits
from hvsim.toolstack.host.trouble import DAEMONS, Census, Trouble

PATIENCE: Final = 2.0
"""Seconds that a toolstack which runs has to answer, before others are asked."""

LAST_LINES: Final = 3
"""Lines of the console of a domain that has crashed."""


def household(run: RunDir, control: Control) -> dict[str, Any]:
    """{lab, processes, domains, waits, troubles, lost, source} of the lab at `run`.

    `processes` has the hypervisor, its spawner and every program of dom0 with role and pid;
    `domains` has one row for each domain with domid, name, role, pid, state, devices and `walls`,
    those that this machine does not allow (the trusted have none to be missed), and of one that
    has crashed the `last_words` on its console; `waits` says which device waits for whom;
    `troubles` who stands still, has died or is given up, as
    {who, what, text}; `lost`, when it says something, why there is no store any more; `source` who
    told ("toolstack", "hypervisor", "/proc") and `unknown` what could not be told, and why.
    """
    inquiry = Inquiry(run)
    still = inquiry.hypervisor()
    if still is None:
        try:
            census = inquiry.census()
        except DoorError as silent:
            still = inquiry.hypervisor() or Trouble(HYPERVISOR, "silent", str(silent), True)
    if still is not None:
        return _from_proc(run, inquiry, still)
    found, source = _ask(inquiry, control, census)
    domains = [dict(row) for row in found.get("domains", [])]
    processes = [_hypervisor(run, found), *_dom0(found.get("processes", []))]
    states = _states(domains, processes)
    for row in [*domains, *processes]:
        row["stalled"] = states.get(row.get("pid"), "") in ("T", "t")
    for row in domains:
        if "c" in str(row.get("state")) and row.get("name"):
            row["last_words"] = last_lines(run.console_log(str(row["name"])), LAST_LINES)
    unknown = str(found.get("unknown") or "")
    departed = {row["domid"]: row for row in found.get("departed", [])}
    troubles = [{"who": one.who, "what": one.what, "text": one.text} for one in census.everybody()]
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


def _ask(inquiry: Inquiry, control: Control, census: Census) -> tuple[dict[str, Any], str]:
    """The toolstack's own words, or what can be told without it; and who told."""
    trouble = census.dom0("toolstack")
    why = trouble.text if trouble is not None else ""
    if not why and not inquiry.listens():
        why = "the toolstack runs, and does not listen yet"
    if not why:
        try:
            return dict(control.data("ps", patience=PATIENCE) or {}), "toolstack"
        except ControlError as silent:
            why = str(silent)
    from hvsim.observe import bystanders  # seldom needed, and slow to import

    return bystanders.tell(inquiry, why), "hypervisor"


def _hypervisor(run: RunDir, found: dict[str, Any]) -> dict[str, Any]:
    hypervisor = run.hypervisor
    pid = hypervisor.pid if hypervisor else None
    return _process(HYPERVISOR, HYPERVISOR, None, pid or found.get("pids", {}).get(HYPERVISOR))


def _dom0(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = [
        _process(str(row.get("process") or "Domain-0"), "dom0", 0, row.get("pid"))
        for row in rows
        if row.get("domid") == 0 and row.get("alive", True)
    ]
    order = {name: place for place, name in enumerate(DAEMONS)}
    return sorted(found, key=lambda row: order.get(row["name"], len(order)))


def _process(name: str, role: str, domid: int | None, pid: Any) -> dict[str, Any]:
    return {"name": name, "role": role, "domid": domid, "pid": pid, "walls": []}


def _states(*rows: list[dict[str, Any]]) -> dict[Any, str]:
    """pid -> the state letter of every process in *rows*; that of one whose program is stopped is
    the program's."""
    found: dict[Any, str] = {}
    for row in [row for part in rows for row in part]:
        for pid in (row.get("pid"), *(row.get("pids") or {}).values()):
            if isinstance(pid, int) and pid and pid not in found:
                letters = [
                    state for one in (pid, *proc.children(pid)) if (state := proc.state(one))
                ]
                stopped = next((letter for letter in letters if letter in proc.STOPPED), None)
                if letters:
                    found[pid] = stopped or letters[0]
    return found


def _from_proc(run: RunDir, inquiry: Inquiry, still: Trouble) -> dict[str, Any]:
    """What can be told when the hypervisor cannot be asked."""
    hypervisor = _hypervisor(run, {})
    hypervisor["stalled"] = still.what == "stalled"
    others = [
        {**_process(row["name"], "process", None, row["pid"]), "stalled": row["stalled"]}
        for row in inquiry.family()
    ]
    return {
        "lab": run.name,
        "processes": [hypervisor, *others],
        "domains": [],
        "waits": [],
        "troubles": [{"who": still.who, "what": still.what, "text": still.text}],
        "lost": "",
        "source": "/proc",
        "unknown": "domains and devices are known to the hypervisor, which does not answer",
    }
