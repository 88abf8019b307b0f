"""``hvsim exec``: one more process, a program of the machine, in a domain that runs."""

from typing import Any, Final

import anyio

from hvsim.abi import errno
from hvsim.domain.hypercall import HypercallError
from hvsim.toolstack.builder import outside
from hvsim.toolstack.context import Toolstack
from hvsim.toolstack.errors import ToolstackError

START_TIMEOUT: Final = 15.0
"""Seconds until the process has its walls; the spawner itself gives it ten."""
_LOOK: Final = 0.003
MAX_SESSIONS: Final = 32
"""Programs that run in one domain at a time; each has its part of the grant table."""


async def execute(toolstack: Toolstack, request: dict[str, Any]) -> dict[str, Any]:
    """Start the program of *request* and say which process it is.

    Raises: ToolstackError: no such domain, it does not run, the process could not be made.
    """
    argv, stdio = request.get("argv"), request.get("stdio")
    if not isinstance(argv, list) or not argv or not all(isinstance(word, str) for word in argv):
        raise ToolstackError("exec: argv must be a list of texts, and not empty", code=2)
    if not isinstance(stdio, str):
        raise ToolstackError("exec: stdio must be the path of a socket", code=2)
    domid = await _find(toolstack, str(request.get("domain", "")))
    process = f"exec-{_slot(toolstack, domid)}"
    spec = {
        **_spec(toolstack, domid),
        "exec": argv,
        "stdio": stdio,
        "process": process,
        "env": request.get("env") or {},
        "directory": str(request.get("directory") or "/") if domid == 0 else "/",
        "stdout": str(toolstack.run_dir / "log" / "exec.log"),
    }
    spec |= {key: request[key] for key in ("room", "store_socket") if key in request}
    spec["files"] = [*spec.get("files", ()), *request.get("files", ())]
    before = toolstack.hypervisor.ledger_seq()
    try:
        toolstack.hypervisor.spawn(domid, spec)
    except HypercallError as failure:
        if failure.errno == errno.EBUSY:
            raise ToolstackError(
                f"domain {domid} does not run; `hvsim xl list` shows its state"
            ) from None
        raise
    pid = await _started(toolstack, domid, process, before)
    return {"domid": domid, "process": process, "pid": pid}


def _slot(toolstack: Toolstack, domid: int) -> int:
    """The lowest number that no program of the domain has.  Raises ToolstackError."""
    rows = toolstack.hypervisor.processes()
    taken = {
        row["process"] for row in rows if row["domid"] == domid and (row["alive"] or not row["pid"])
    }
    for slot in range(MAX_SESSIONS):
        if f"exec-{slot}" not in taken:
            return slot
    raise ToolstackError(f"{MAX_SESSIONS} programs run in domain {domid} already")


async def _find(toolstack: Toolstack, name: str) -> int:
    if name in ("0", "Domain-0"):
        return 0
    async with toolstack.store() as store:
        domid = await toolstack.find(store, name)
    if domid is None or toolstack.hypervisor.info(domid) is None:
        raise ToolstackError(f"there is no domain {name!r}; `hvsim xl list` shows those there are")
    return domid


def _spec(toolstack: Toolstack, domid: int) -> dict[str, Any]:
    """What a further process of the domain has in common with its main one."""
    if domid == 0:
        return {
            "name": "Domain-0",
            "profile": "dom0",
            "store_socket": str(toolstack.store_path),
            "path": [],
        }
    guest = toolstack.guest(domid)
    if guest is None:
        raise ToolstackError(f"domain {domid} was not made by this toolstack")
    return {
        "name": guest.name,
        "profile": guest.request.profile,
        "path": list(guest.request.path),
        "files": [list(entry) for entry in guest.request.files],
        **outside(toolstack, domid, guest.request),
    }


async def _started(toolstack: Toolstack, domid: int, process: str, before: int) -> int:
    with anyio.move_on_after(START_TIMEOUT):
        while True:
            rows = toolstack.hypervisor.processes()
            own = [row for row in rows if row["domid"] == domid and row["process"] == process]
            if own and own[0]["pid"]:
                return int(own[0]["pid"])
            if not own or not any(row["alive"] or not row["pid"] for row in own):
                break
            failed = _failure(toolstack, process, before)
            if failed:
                raise ToolstackError(failed)
            await anyio.sleep(_LOOK)
        raise ToolstackError(
            _failure(toolstack, process, before) or f"domain {domid} ended before the program began"
        )
    raise ToolstackError(f"no process was made in domain {domid} within {START_TIMEOUT:g} s")


def _failure(toolstack: Toolstack, process: str, before: int) -> str | None:
    """What the ledger says of a process that could not be made."""
    for record in toolstack.hypervisor.ledger(before, 1000):
        if record.get("kind") == "process.failed" and f" {process}: " in str(record.get("text")):
            return str(record["text"]).partition(f" {process}: ")[2]
    return None
