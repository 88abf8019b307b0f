"""Who waits for whom: told from the states of domains and the halves of their devices. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from hvsim.lab.progress import state_name

Row = Mapping[str, Any]


def waits(domains: Iterable[Row], process_states: Mapping[int, str]) -> list[dict[str, Any]]:
    """One entry for each device that waits: {domain, device, on, why, unanswered}.

    `domains` are the rows of the toolstack's "ps"; `process_states` gives the state letter of
    /proc/PID/stat for each main pid ("T": stopped).
    """
    rows = list(domains)
    by_domid = {row.get("domid"): row for row in rows}
    found = []
    for row in rows:
        for device in row.get("devices") or []:
            reason = _reason(device, by_domid, process_states)
            if reason:
                backend = by_domid.get(device.get("backend_domid")) or {}
                found.append(
                    {
                        "domain": row.get("name"),
                        "device": device.get("vdev") or device.get("devid"),
                        "on": backend.get("name") or f"domain {device.get('backend_domid')}",
                        "why": reason,
                        "unanswered": device.get("unanswered"),
                    }
                )
    return found


def _reason(device: Row, by_domid: Mapping[Any, Row], states: Mapping[int, str]) -> str:
    backend = by_domid.get(device.get("backend_domid"))
    if backend is None:
        return "the backend domain is gone"
    if stalled(backend, states):
        return "stalled (SIGSTOP)"
    if "p" in str(backend.get("state", "")):
        return "paused"
    front, back = device.get("frontend_state"), device.get("backend_state")
    if str(front) != "4" or str(back) != "4":
        return f"frontend {_name(front)}, backend {_name(back)}"
    if not device.get("waits_for"):
        return ""
    seconds = device.get("waiting_seconds")
    return f"no answer for {seconds:g} s" if seconds else "no answer yet"


def _name(state: Any) -> str:
    return state_name(None if state is None else str(state))


def stalled(row: Row, states: Mapping[int, str]) -> bool:
    """Is the domain's main process stopped by a signal?"""
    pid = row.get("pid")
    return isinstance(pid, int) and states.get(pid) in ("T", "t")
