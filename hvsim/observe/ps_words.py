"""The picture (`model`) in words: what `hvsim ps` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hvsim.lab.states import state_name
from hvsim.observe.model import behind
from hvsim.speak import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hvsim.observe.rows import Picture, SeenDomain
    from hvsim.wire.picture import DeviceRow, GrantRow, PortRow, ProcessRow, WaitRow

_HEAD: Final = ("DOMID", "NAME", "ROLE", "STATE", "PID", "DEVICES", "WALLS")
_Cells = tuple[object, ...]


def lines(found: Picture) -> list[str]:
    """The picture for a reader, line by line."""
    rows = [_process(row) for row in found["processes"]]
    for domain in found["domains"]:
        if domain["domid"]:
            rows += _domain(domain, known=not found["unknown"])
    said = [f"lab {found['lab']}", *table(_HEAD, rows)]
    said += [_wait(edge, found["waits"]) for edge in found["waits"]]
    said += [trouble["text"] for trouble in found["troubles"]]
    for domain in found["domains"]:
        if words := domain.get("last_words"):
            said += [f"the console of {domain['name']} ends:", *(f"    {word}" for word in words)]
    for domain in found["domains"]:
        said += _full(domain)
    unknown = found["unknown"]
    for trouble in found["troubles"]:
        unknown = unknown.replace(trouble["text"], "").strip("; ")
    if unknown:
        said.append(f"not everything could be told: {unknown}")
    if found["lost"]:
        said.append(found["lost"])
    return said


def _process(row: ProcessRow) -> _Cells:
    domid = "-" if row["domid"] is None else row["domid"]
    state = "stalled" if row["stalled"] else "-"
    walls = "?" if row["role"] == "process" else "trusted"
    return (domid, row["name"], row["role"], state, row["pid"] or "-", "-", walls)


def _domain(row: SeenDomain, *, known: bool) -> Iterator[_Cells]:
    times = f" (restarted {row['restarts']}x)" if row["restarts"] else ""
    state = row["state"] + (" stalled" if row["stalled"] else "")
    devices = " ".join(_device(device, known) for device in row["devices"]) or "-"
    walls = "without " + ", ".join(row["walls"]) if row["walls"] else "all"
    who = (row["domid"], row["name"] or "-", row["role"] + times)
    yield (*who, state, row["pid"] or "-", devices, walls)
    for process, pid in sorted(row["pids"].items()):
        if process != "main":
            yield (row["domid"], process, "program", "-", pid or "-", "-", "-")


def _device(device: DeviceRow, known: bool) -> str:
    front = device["frontend_state"]
    state = state_name(None if front is None else str(front))
    if front is None and not known:
        state = "?"
    return f"{device['vdev']}<-{device['backend_domid']}:{state}"


def _wait(edge: WaitRow, edges: list[WaitRow]) -> str:
    count = edge["unanswered"]
    asked = f", {count} requests unanswered" if count else ""
    text = f"{edge['domain']} {edge['device']} waits for {edge['on']}: {edge['why']}{asked}"
    further = behind(edges, edge["on"])
    return f"{text}; {edge['on']} itself waits for {', '.join(further)}" if further else text


def _full(row: SeenDomain) -> Iterator[str]:
    """What a domain holds and did last, when that was asked for."""
    held = row.get("holdings")
    if held is None:
        return
    yield f"{row['name'] or 'domain'} (domain {row['domid']}) has mapped {held['mapped']} pages"
    for port in held["ports"]:
        yield f"    port {port['port']}: {_port(port)}"
    yield from _grants(held["grants"])
    for act in row.get("last_acts", []):
        yield f"    last: {act['kind']}: {act['text']}"


def _grants(grants: list[GrantRow]) -> Iterator[str]:
    """Neighbours that the same domain has mapped in the same way in one line."""
    runs: list[tuple[int, int, tuple[int, str]]] = []
    for grant in grants:
        ref, how = grant["ref"], (grant["peer"], "to write" if grant["writers"] else "to read")
        if runs and runs[-1][1:] == (ref - 1, how):
            runs[-1] = (runs[-1][0], ref, how)
        else:
            runs.append((ref, ref, how))
    for first, last, (peer, way) in runs:
        which = f"grant {first}" if first == last else f"grants {first} to {last}"
        yield f"    {which}: mapped by domain {peer} {way}"


def _port(port: PortRow) -> str:
    flags = "".join(f", {flag}" for flag in ("pending", "masked") if port[flag])
    if port["status"] == "virq":
        return f"virtual interrupt {port['virq']}{flags}"
    if port["status"] == "unbound":
        return f"domain {port['remote']} may bind it{flags}"
    return f"bound to port {port['remote_port']} of domain {port['remote']}{flags}"
