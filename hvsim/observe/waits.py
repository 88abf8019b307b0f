"""Who waits for whom: told from the states of domains and the halves of their devices. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from hvsim.lab.progress import state_name
from hvsim.toolstack.host.trouble import server_process

Row = Mapping[str, Any]


def waits(
    domains: Iterable[Row],
    process_states: Mapping[Any, str],
    *,
    states_known: bool = True,
    departed: Mapping[Any, Row] | None = None,
) -> list[dict[str, Any]]:
    """One entry for each device that waits: {domain, device, on, why, unanswered}.

    `domains` are the rows of the toolstack's "ps"; `process_states` gives the state letter of
    /proc/PID/stat for each pid ("T": stopped). `states_known`: whether the states of halves were
    asked for, so that one that is missing is missing. `departed`: what is known of domains that
    are here no more, or have no name any more, by domid.
    """
    rows = list(domains)
    by_domid = {row.get("domid"): row for row in rows}
    found = []
    for row in rows:
        for device in row.get("devices") or []:
            reason = _reason(device, by_domid, process_states, states_known)
            if reason:
                found.append(
                    {
                        "domain": row.get("name"),
                        "device": device.get("vdev") or device.get("devid"),
                        "on": _server(device, by_domid, departed or {}),
                        "why": reason,
                        "unanswered": device.get("unanswered"),
                    }
                )
    return found


def gone(domains: Iterable[Row], departed: Mapping[Any, Row]) -> list[dict[str, str]]:
    """The troubles of those who serve devices, and are here no more: {who, what, text}."""
    rows = list(domains)
    here = {row.get("domid") for row in rows}
    served_by = {device.get("backend_domid") for row in rows for device in row.get("devices") or []}
    return [
        {
            "who": str((departed.get(domid) or {}).get("name") or f"domain {domid}"),
            "what": "gone",
            "text": str((departed.get(domid) or {}).get("text") or f"domain {domid} is gone"),
        }
        for domid in sorted(served_by - here - {None})
    ]


def _server(device: Row, by_domid: Mapping[Any, Row], departed: Mapping[Any, Row]) -> str:
    """Who serves a device: a domain, or one of dom0's processes.  One that is just being destroyed
    is here yet, but its name has left the store."""
    domid = device.get("backend_domid")
    if domid == 0 and device.get("backend_class"):
        return server_process(str(device["backend_class"]), int(device["frontend_domid"]))
    rows = (by_domid.get(domid) or {}, departed.get(domid) or {})
    return next((str(row["name"]) for row in rows if row.get("name")), f"domain {domid}")


def _reason(
    device: Row, by_domid: Mapping[Any, Row], states: Mapping[Any, str], known: bool
) -> str:
    backend = by_domid.get(device.get("backend_domid"))
    if backend is None:
        return "the backend domain is gone"
    if stalled(device, backend, states):
        return "stalled (SIGSTOP)"
    state = str(backend.get("state", ""))
    if "c" in state:
        return "crashed"
    if "p" in state:
        return "paused"
    front, back = device.get("frontend_state"), device.get("backend_state")
    if known and (str(front) != "4" or str(back) != "4"):
        said = f"; {device['error']}" if device.get("error") else ""
        return f"frontend {_name(front)}, backend {_name(back)}{said}"
    if not device.get("waits_for"):
        return ""
    seconds = device.get("waiting_seconds")
    return f"no answer for {seconds:g} s" if seconds else "no answer yet"


def _name(state: Any) -> str:
    return state_name(None if state is None else str(state))


def stalled(device: Row, backend: Row, states: Mapping[Any, str]) -> bool:
    """Is the process that serves a device stopped by a signal?"""
    pid = backend.get("pid")
    if device.get("backend_domid") == 0 and device.get("backend_class"):
        name = server_process(str(device["backend_class"]), int(device["frontend_domid"]))
        pid = (backend.get("pids") or {}).get(name)
    return states.get(pid) in ("T", "t")
