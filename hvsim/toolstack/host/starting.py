"""From "let it run" to a process that runs: what becomes of a spawn is known a little later.

A process that cannot be made (a wall that cannot be raised, a file that is not there) is the fault
of what was asked, and told to whoever asked: it is no crash of the domain, and nobody rebuilds it.
"""

import contextlib
from typing import Final

import anyio

from hvsim.domain.hypercall import HypercallError
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.guest import Guest
from hvsim.toolstack.host.waiting import Dom0Process, waiting
from hvsim.wire.answers import ProcessInfo

START_TIMEOUT: Final = 15.0
"""Seconds until a process has its walls; the spawner itself gives it ten."""
_LOOK: Final = 0.002


class NotStartedError(ToolstackError):
    """A process of a domain could not be made; one line says which and why."""


async def wait_for_process(toolstack: Toolstack, domid: int, process: str) -> int:
    """The pid of a process that is being made.  Raises: NotStartedError."""
    party = Dom0Process("spawner")
    with (
        waiting(f"{process} of domain {domid} to be made", party, START_TIMEOUT),
        anyio.move_on_after(START_TIMEOUT),
    ):
        while True:
            row = _row(toolstack, domid, process)
            if row is None:
                raise NotStartedError(f"domain {domid} ended before {process} began")
            if row["failure"]:
                raise NotStartedError(str(row["failure"]))
            if row["pid"]:
                return int(row["pid"])
            await anyio.sleep(_LOOK)
    trouble = party.trouble(toolstack.census())
    why = "the spawner runs" if trouble is None else trouble.text
    raise NotStartedError(
        f"no process was made in domain {domid} within {START_TIMEOUT:g} s: {why}"
    )


def _row(toolstack: Toolstack, domid: int, process: str) -> ProcessInfo | None:
    """The newest process of that name; those that are gone are listed last, oldest first."""
    rows = [
        row
        for row in toolstack.hypervisor.processes()
        if row["domid"] == domid and row["process"] == process
    ]
    alive = [row for row in rows if row["alive"] or not (row["pid"] or row["failure"])]
    return next(iter(alive), rows[-1] if rows else None)


async def follow(toolstack: Toolstack, guest: Guest) -> None:
    """See a new guest's first process start, or not; then whoever waits for that goes on."""
    try:
        await wait_for_process(toolstack, guest.domid, "main")
    except NotStartedError as failure:
        text = str(failure)
        named = text.startswith(f"{guest.name}: ")
        guest.failure = f"domain {text}" if named else f"domain {guest.name}: {text}"
    except HypercallError:
        pass  # the end of everything
    finally:
        guest.started.set()
        with contextlib.suppress(HypercallError):
            toolstack.look()


async def settle(toolstack: Toolstack, guest: Guest) -> None:
    """Wait until a guest runs.  Raises: NotStartedError."""
    with waiting(f"the first process of {guest.name} to be made", Dom0Process("spawner")):
        await guest.started.wait()
    check(guest)


def check(guest: Guest) -> None:
    """Raises: NotStartedError: it is known already that the guest could not be started."""
    if guest.failure:
        raise NotStartedError(guest.failure)
