"""One picture of a host: who is there, what each holds, and who waits for whom.  Pure.

``picture`` takes it, from whoever of the lab answers; ``ps``, the timeline and the evidence of a
lab that failed are renderings of it.  Its rows are in `rows`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from hvsim.lab.states import state_name
from hvsim.linux.proc import STOPPED
from hvsim.toolstack.host.parts import server_process

if TYPE_CHECKING:
    from hvsim.wire.picture import DeviceRow, DomainRow, TroubleRow, WaitRow

CONNECTED: Final = 4


Departed = Mapping[int, Mapping[str, Any]]
"""What is known of domains that are here no more, or have no name any more: name and text."""


def waits(
    domains: Sequence[DomainRow],
    process_states: Mapping[int, str],
    *,
    states_known: bool = True,
    departed: Departed | None = None,
) -> list[WaitRow]:
    """One edge for each device that waits.

    `process_states` gives the state letter of each pid ("T": stopped); `states_known` tells whether
    the states of halves were asked for, so that one that is missing is missing.
    """
    by_domid = {row["domid"]: row for row in domains}
    found: list[WaitRow] = []
    for row in domains:
        for device in row["devices"]:
            reason = _reason(device, by_domid, process_states, states_known)
            if reason:
                found.append(
                    {
                        "domain": row["name"],
                        "device": device["vdev"],
                        "on": _server(device, by_domid, departed or {}),
                        "why": reason,
                        "unanswered": device["unanswered"],
                    }
                )
    return found


def behind(edges: Iterable[WaitRow], who: str) -> list[str]:
    """Whom *who* waits for, whom those wait for, and so on, each once, the nearest first.

    The last is the one to look at; *who* itself is in it when they wait for each other in a circle.
    """
    on: dict[str, list[str]] = {}
    for edge in edges:
        on.setdefault(str(edge["domain"]), []).append(edge["on"])
    found: dict[str, None] = {}
    todo = [*on.get(who, ())]
    while todo:
        one = todo.pop(0)
        if one not in found:
            found[one] = None
            todo += on.get(one, ())
    return list(found)


def gone(domains: Sequence[DomainRow], departed: Departed) -> list[TroubleRow]:
    """The troubles of those who serve devices, and are here no more."""
    here = {row["domid"] for row in domains}
    served_by = {device["backend_domid"] for row in domains for device in row["devices"]}
    return [
        {
            "who": str(departed.get(domid, {}).get("name") or f"domain {domid}"),
            "what": "gone",
            "text": str(departed.get(domid, {}).get("text") or f"domain {domid} is gone"),
        }
        for domid in sorted(served_by - here)
    ]


def plight(domains: Sequence[DomainRow], domids: Iterable[int]) -> dict[int, str]:
    """Domid to "paused", "stalled (SIGSTOP)" or "gone" for each of *domids* that cannot act."""
    here = {row["domid"]: row for row in domains}
    found = {}
    for domid in domids:
        row = here.get(domid)
        if row is None:
            if domid:
                found[domid] = "gone"
        elif row["stalled"]:
            found[domid] = "stalled (SIGSTOP)"
        elif "p" in row["state"]:
            found[domid] = "paused"
    return found


def _server(device: DeviceRow, by_domid: Mapping[int, DomainRow], departed: Departed) -> str:
    """Who serves a device: a domain, or one of dom0's processes.  One that is just being destroyed
    is here yet, but its name has left the store."""
    domid = device["backend_domid"]
    if domid == 0:
        return server_process(device["backend_class"], device["frontend_domid"])
    row = by_domid.get(domid)
    if row is not None and row["name"]:
        return row["name"]
    return str(departed.get(domid, {}).get("name") or f"domain {domid}")


def _reason(
    device: DeviceRow, by_domid: Mapping[int, DomainRow], states: Mapping[int, str], known: bool
) -> str:
    backend = by_domid.get(device["backend_domid"])
    if backend is None:
        return "the backend domain is gone"
    if _stalled(device, backend, states):
        return "stalled (SIGSTOP)"
    if "c" in backend["state"]:
        return "crashed"
    if "p" in backend["state"]:
        return "paused"
    front, back = device["frontend_state"], device["backend_state"]
    if known and not front == back == CONNECTED:
        said = f"; {device['error']}" if device["error"] else ""
        return f"frontend {_name(front)}, backend {_name(back)}{said}"
    if device.get("link") == "down":
        return "the link is down"
    if not device["waits_for"]:
        return ""
    seconds = device["waiting_seconds"]
    return f"no answer for {seconds:g} s" if seconds else "no answer yet"


def _name(state: int | None) -> str:
    return state_name(None if state is None else str(state))


def _stalled(device: DeviceRow, backend: DomainRow, states: Mapping[int, str]) -> bool:
    """Is the process that serves a device stopped by a signal?"""
    pid = backend["pid"]
    if device["backend_domid"] == 0:
        name = server_process(device["backend_class"], device["frontend_domid"])
        pid = backend["pids"].get(name)
    return pid is not None and states.get(pid, "") in STOPPED
