"""Taking the picture of a running lab (`model`): who is asked, and who else when he is silent.

It is asked from the toolstack. When that is dead, stopped or does not answer, the hypervisor and
the store are asked instead (`bystanders`), and when the hypervisor stands still, /proc.
"""

import contextlib
from typing import Any, Final

from hvsim.lab.answers import ControlError
from hvsim.lab.control import Control
from hvsim.lab.door import Door, DoorError
from hvsim.lab.inquiry import HYPERVISOR, Inquiry
from hvsim.lab.logs import last_lines
from hvsim.lab.rundir import RunDir
from hvsim.linux import proc
from hvsim.observe.model import LastAct, Picture, SeenDomain, gone, waits
from hvsim.toolstack.host.trouble import DAEMONS, Census, Trouble
from hvsim.wire.picture import ProcessRow, TroubleRow

PATIENCE: Final = 2.0
"""Seconds that a toolstack which runs has to answer, before others are asked."""

LAST_LINES: Final = 3
"""Lines of the console of a domain that has crashed."""
LAST_ACTS: Final = 3
"""Records of the ledger for each domain."""
RECORDS: Final = 1000
"""Records, the newest, in which they are looked for."""


def picture(run: RunDir, control: Control, *, full: bool = False) -> Picture:
    """The picture of the lab at `run`; with `full` what each domain holds and did last, as well."""
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
    domains: list[SeenDomain] = found.get("domains", [])
    processes = [_hypervisor(run, found), *_dom0(found.get("processes", []))]
    states = _states(domains, processes)
    for row in (*domains, *processes):
        row["stalled"] = states.get(row["pid"] or 0, "") in proc.STOPPED
    for domain in domains:
        if "c" in domain["state"] and domain["name"]:
            domain["last_words"] = last_lines(run.console_log(domain["name"]), LAST_LINES)
    if full:
        _hold(run, domains)
    unknown = str(found.get("unknown") or "")
    departed = {row["domid"]: row for row in found.get("departed", [])}
    troubles = [_trouble(one) for one in census.everybody()]
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


def _hold(run: RunDir, domains: list[SeenDomain]) -> None:
    """Enter what each holds in the hypervisor, and what it did last."""
    acts: dict[int, list[LastAct]] = {}
    with Door(run.door) as door:
        for row in domains:
            with contextlib.suppress(DoorError):  # it has gone meanwhile
                row["holdings"] = door.holdings(row["domid"])
        last = int(door.machine()["ledger_seq"])
        for record in door.ledger(max(0, last - RECORDS), RECORDS):
            acts.setdefault(record["domid"], []).append(
                LastAct(
                    seq=record["seq"],
                    time=record["time"],
                    kind=record["kind"],
                    text=record["text"],
                )
            )
    for row in domains:
        row["last_acts"] = acts.get(row["domid"], [])[-LAST_ACTS:]


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


def _trouble(one: Trouble) -> TroubleRow:
    return {"who": one.who, "what": one.what, "text": one.text}


def _hypervisor(run: RunDir, found: dict[str, Any]) -> ProcessRow:
    hypervisor = run.hypervisor
    pid = hypervisor.pid if hypervisor else None
    return _process(HYPERVISOR, HYPERVISOR, None, pid or found.get("pids", {}).get(HYPERVISOR))


def _dom0(rows: list[dict[str, Any]]) -> list[ProcessRow]:
    found = [
        _process(str(row.get("process") or "Domain-0"), "dom0", 0, row.get("pid"))
        for row in rows
        if row.get("domid") == 0 and row.get("alive", True)
    ]
    order = {name: place for place, name in enumerate(DAEMONS)}
    return sorted(found, key=lambda row: order.get(row["name"], len(order)))


def _process(
    name: str, role: str, domid: int | None, pid: int | None, stalled: bool = False
) -> ProcessRow:
    return ProcessRow(name=name, role=role, domid=domid, pid=pid, walls=[], stalled=stalled)


def _states(domains: list[SeenDomain], processes: list[ProcessRow]) -> dict[int, str]:
    """pid -> the state letter of everybody's process; that of one whose program is stopped is the
    program's."""
    pids = [pid for row in domains for pid in (row["pid"], *row["pids"].values())]
    found: dict[int, str] = {}
    for pid in (*pids, *(row["pid"] for row in processes)):
        if pid and pid not in found:
            family = (pid, *proc.children(pid))
            letters = [state for one in family if (state := proc.state(one))]
            stopped = next((letter for letter in letters if letter in proc.STOPPED), None)
            if letters:
                found[pid] = stopped or letters[0]
    return found


def _from_proc(run: RunDir, inquiry: Inquiry, still: Trouble) -> Picture:
    """What can be told when the hypervisor cannot be asked."""
    hypervisor = _hypervisor(run, {})
    hypervisor["stalled"] = still.what == "stalled"
    others = [
        _process(row["name"], "process", None, row["pid"], row["stalled"])
        for row in inquiry.family()
    ]
    return {
        "lab": run.name,
        "processes": [hypervisor, *others],
        "domains": [],
        "waits": [],
        "troubles": [_trouble(still)],
        "lost": "",
        "source": "/proc",
        "unknown": "domains and devices are known to the hypervisor, which does not answer",
    }
