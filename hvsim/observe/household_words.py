"""The household (`household`) in words: what `hvsim ps` prints."""

from typing import Any

from hvsim.lab.progress import state_name
from hvsim.speak import table


def lines(found: dict[str, Any]) -> list[str]:
    """The household for a reader, line by line."""
    rows: list[tuple[object, ...]] = [
        (
            "-" if row["domid"] is None else row["domid"],
            row["name"],
            row["role"],
            "stalled" if row["stalled"] else "-",
            row["pid"] or "-",
            "-",
            _walls(row),
        )
        for row in found["processes"]
    ]
    for row in found["domains"]:
        if row.get("domid") == 0:
            continue
        restarts = row.get("restarts") or 0
        role = str(row.get("role")) + (f" (restarted {restarts}x)" if restarts else "")
        state = f"{row.get('state')}" + (" stalled" if row["stalled"] else "")
        rows.append(
            (
                row.get("domid"),
                row.get("name") or "-",
                role,
                state,
                row.get("pid") or "-",
                _devices(row, known=not found["unknown"]),
                _walls(row),
            )
        )
        rows += [
            (row.get("domid"), process, "program", "-", pid or "-", "-", "-")
            for process, pid in sorted((row.get("pids") or {}).items())
            if process != "main"
        ]
    said = [
        f"lab {found['lab']}",
        *table(("DOMID", "NAME", "ROLE", "STATE", "PID", "DEVICES", "WALLS"), rows),
    ]
    for wait in found["waits"]:
        count = wait.get("unanswered")
        asked = f", {count} requests unanswered" if count else ""
        said.append(
            f"{wait['domain']} {wait['device']} waits for {wait['on']}: {wait['why']}{asked}"
        )
    said += [trouble["text"] for trouble in found["troubles"]]
    for row in found["domains"]:
        if words := row.get("last_words"):
            said += [f"the console of {row['name']} ends:", *(f"    {word}" for word in words)]
    unknown = found["unknown"]
    for trouble in found["troubles"]:
        unknown = unknown.replace(trouble["text"], "").strip("; ")
    if unknown:
        said.append(f"not everything could be told: {unknown}")
    if found["lost"]:
        said.append(found["lost"])
    return said


def _devices(row: dict[str, Any], *, known: bool) -> str:
    words = []
    for device in row.get("devices") or []:
        front = device.get("frontend_state")
        state = state_name(None if front is None else str(front))
        if front is None and not known:
            state = "?"
        words.append(
            f"{device.get('vdev') or device.get('devid')}<-{device.get('backend_domid')}:{state}"
        )
    return " ".join(words) or "-"


def _walls(row: dict[str, Any]) -> str:
    if row["role"] in ("hypervisor", "dom0"):
        return "trusted"
    if row["role"] == "process":
        return "?"
    missing = row.get("walls")
    return "without " + ", ".join(missing) if missing else "all"
