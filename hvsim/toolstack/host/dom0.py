"""Processes of dom0 that the toolstack starts, ends or watches.

Its daemons are looked after by dom0's init (``domains.init``), the toolstack among them.  What is
left here are those that belong to guests (QEMU), and one that nobody can bring back: a real
xenstored has kept the store in its own memory, and with it the lab is stuck, as a real host would
be.  The toolstack notes its end, so that everything that needs the store is refused at once and
says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from typing import Any, Final

import anyio

from hvsim.abi import errno
from hvsim.domain.hypercall import HypercallError
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.waiting import Dom0Process, waiting
from hvsim.wire.answers import ProcessInfo
from hvsim.wire.spawn import Spawn

_STEP: Final = 0.001
_LONGEST_STEP: Final = 0.1
_RELEASE_TIMEOUT: Final = 10.0
"""Seconds until a process of dom0 is made, the release of what its predecessor held included."""


async def mourn(toolstack: Toolstack, mourned: Mapping[str, Any]) -> None:
    """Note the end of the process that is the store: ``process``, its name, and ``program``."""
    await end_of(await _born(toolstack, str(mourned["process"])))
    toolstack.lost = (
        f"the store of this lab has ended: {mourned['program']} held it in its memory, and nobody "
        f"can bring it back; domains go on with what they have; `hvsim down {toolstack.lab}` ends "
        "the lab"
    )
    toolstack.dom.log(toolstack.lost)
    if not toolstack.stopping:
        with contextlib.suppress(HypercallError):
            toolstack.hypervisor.note("store.lost", 0, toolstack.lost)
    toolstack.notice()


async def _born(toolstack: Toolstack, name: str) -> int:
    """The live process of dom0 called *name*; 0 when it has ended.  It is waited for, as long as it
    takes: dom0's processes are made at the same time, a toolstack may be the first, and who is not
    there yet has not ended."""
    step = _STEP
    while True:
        row = row_of(toolstack, name)
        if row is not None and (row["alive"] or row["gone"] or row["status"] is not None):
            return int(row["pid"]) if row["alive"] else 0
        await anyio.sleep(step)
        step = min(2 * step, _LONGEST_STEP)


def row_of(toolstack: Toolstack, name: str) -> ProcessInfo | None:
    """The process of dom0 called *name*: the one that lives, else the last that has gone."""
    rows = [
        row
        for row in toolstack.hypervisor.processes()
        if row["domid"] == 0 and row["process"] == name
    ]
    alive = next((row for row in rows if not row["gone"]), None)
    return alive or (rows[-1] if rows else None)


def alive_pid(toolstack: Toolstack, name: str) -> int:
    """The live process of dom0 called *name*; 0 when there is none."""
    row = row_of(toolstack, name)
    return int(row["pid"]) if row is not None and row["alive"] else 0


async def end_of(pid: int) -> None:
    """Wait until process *pid* has ended; at once when there is none."""
    if not pid:
        return
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


async def spawn_process(toolstack: Toolstack, name: str, spec: Spawn) -> None:
    """Spawn it, and wait until it runs.  Raises: HypercallError; TimeoutError, which says why."""
    with waiting(f"{name} to be made", Dom0Process("spawner"), _RELEASE_TIMEOUT):
        try:
            with anyio.fail_after(_RELEASE_TIMEOUT):
                await _spawn(toolstack, name, spec)
        except TimeoutError:
            raise TimeoutError(f"{name} was not made within {_RELEASE_TIMEOUT:g} s") from None


async def _spawn(toolstack: Toolstack, name: str, spec: Spawn) -> None:
    while True:
        try:
            toolstack.hypervisor.spawn(0, spec)
            break
        except HypercallError as failure:
            if failure.errno != errno.EEXIST:  # else: the dead one is still being cleared away
                raise
        await anyio.sleep(_STEP)
    while not alive_pid(toolstack, name):
        row = row_of(toolstack, name)
        if row is None or row["gone"]:
            raise TimeoutError(f"{name} ended before it ran")
        await anyio.sleep(_STEP)
