"""``hvsim exec``: one more process, a program of the machine, in a domain that runs."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hvsim.abi import errno
from hvsim.abi.hypercall import MESSAGE_MAX
from hvsim.domain.hypercall import HypercallError
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.request import CreateRequest
from hvsim.toolstack.host.starting import wait_for_process
from hvsim.wire.lab_requests import Exec
from hvsim.wire.packing import pack
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import read, write
from hvsim.xs.sockets import door_path

SPEC_MAX: Final = MESSAGE_MAX - 256
"""Bytes of what the hypervisor is told of a process, in one call."""
MAX_SESSIONS: Final = 32
"""Programs that run in one domain at a time; each has its part of the grant table."""


async def execute(
    toolstack: Toolstack,
    request: Exec,
    *,
    files: Sequence[tuple[str, str]] = (),
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Start the program of *request* and say which process it is.

    Args:
        files: what it may open beside what its domain may.
        more: what the toolstack itself adds to the spec of a process of dom0.

    Raises: ToolstackError: no such domain, it does not run, the process could not be made.
    """
    domid = await _find(toolstack, request.domain)
    process = f"exec-{_slot(toolstack, domid)}"
    told = {
        **_spec(toolstack, domid),
        "exec": list(request.argv),
        "stdio": request.stdio,
        "process": process,
        "env": dict(request.env),
        "directory": request.directory if domid == 0 else "/",
        "stdout": str(toolstack.run_dir / "log" / "exec.log"),
    }
    told |= more or {}
    told["files"] = [*told.get("files", ()), *map(list, files)]
    spec = read(Spawn, told)
    size = len(pack(write(spec)))
    if size > SPEC_MAX:
        raise ToolstackError(
            f"exec: command line and environment are {size} bytes, and {SPEC_MAX} fit; "
            "put the words into a file that the program reads on its standard input",
            code=2,
        )
    try:
        toolstack.hypervisor.spawn(domid, spec)
    except HypercallError as failure:
        if failure.errno == errno.EBUSY:
            raise ToolstackError(
                f"domain {domid} does not run; `hvsim xl list` shows its state"
            ) from None
        raise
    pid = await wait_for_process(toolstack, domid, process)
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
            "place": str(toolstack.place),
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
        "walls": guest.request.walls,
        **outside(toolstack, domid, guest.request),
    }


def outside(toolstack: Toolstack, domid: int, request: CreateRequest) -> dict[str, Any]:
    """What a process needs beside that in order to run programs of the machine."""
    # Xen's own stores have no socket that acts as a domain.
    door = str(door_path(toolstack.store_path, domid)) if toolstack.our_store else ""
    return {
        "executables": True,
        "store_socket": door,
        "hosts": request.args.get("hosts") or {},
    }
