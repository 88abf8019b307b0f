"""A process of dom0 that dies is started again, or mourned.

For those that the daemon was told of (``supervise`` in its arguments: their spawn specifications),
which is xenstored: it finds its journal and goes on where it was.  Real dom0s leave this to an init
system, and cannot do it for xenstored.

Xen's own xenconsoled is a *follower*: it starts after the store, and anew after the store's death.

A real xenstored has kept the store in its own memory: with it the lab is stuck, as a real host
would be.  For those (``mourn`` in the arguments) the daemon only notes it, so that everything that
needs the store is refused at once and says why.

A death is seen on a pidfd.  The process is spawned anew as soon as the hypervisor has released what
the dead one held; one that dies young again and again is waited for longer each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import anyio

from hvsim.abi import errno
from hvsim.domain.hypercall import HypercallError
from hvsim.toolstack.context import Toolstack

YOUNG: Final = 0.5
"""Seconds; a process that lived shorter is started again with a delay."""
FIRST_DELAY: Final = 0.05
MAX_DELAY: Final = 5.0
_RELEASE_STEP: Final = 0.001
_RELEASE_TIMEOUT: Final = 10.0


async def supervise(
    toolstack: Toolstack, spec: Mapping[str, Any], followers: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Keep the process of *spec* alive; runs until it is cancelled.

    *followers* are started anew whenever it was.
    """
    name = str(spec["process"])
    again = {**spec, "args": {**spec.get("args", {}), "recover": True}}
    delay = 0.0
    while True:
        born = time.monotonic()
        await end_of(alive_pid(toolstack, name))
        toolstack.dom.log(f"{name} has died; starting it again")
        if time.monotonic() - born < YOUNG:
            delay = min(MAX_DELAY, max(FIRST_DELAY, 2 * delay))
            await anyio.sleep(delay)
        else:
            delay = 0.0
        try:
            await spawn_process(toolstack, name, again)
        except (HypercallError, TimeoutError) as failure:
            toolstack.dom.log(f"cannot start {name} again: {failure}")
        else:
            await follow(toolstack, followers)


async def follow(toolstack: Toolstack, followers: Sequence[Mapping[str, Any]]) -> None:
    """Start programs that must find a store when they start, and lose it for good when it dies.

    One that runs is ended before, for it holds on to a store that is no more.
    """
    for spec in followers:
        name = str(spec["process"])
        try:
            async with toolstack.store():  # it serves
                pass
            if pid := alive_pid(toolstack, name):
                toolstack.hypervisor.fault(0, name, "kill")
                await end_of(pid)
            await spawn_process(toolstack, name, spec)
        except (HypercallError, OSError) as failure:
            toolstack.dom.log(f"cannot start {name}: {failure}")


async def mourn(toolstack: Toolstack, spec: Mapping[str, Any]) -> None:
    """Note the end of the process of *spec*, which was the store."""
    name = str(spec["process"])
    await end_of(alive_pid(toolstack, name))
    program = spec["args"]["exec"][0]
    toolstack.lost = (
        f"the store of this lab has ended: {program} held it in its memory, and nobody can bring "
        f"it back; domains go on with what they have; `hvsim down {toolstack.lab}` ends the lab"
    )
    toolstack.dom.log(toolstack.lost)
    if not toolstack.stopping:
        with contextlib.suppress(HypercallError):
            toolstack.hypervisor.note("store.lost", 0, toolstack.lost)
    toolstack.notice()


def alive_pid(toolstack: Toolstack, name: str) -> int:
    """The live process of dom0 called *name*; 0 when there is none."""
    for row in toolstack.hypervisor.processes():
        if row["domid"] == 0 and row["process"] == name and row["alive"]:
            return int(row["pid"])
    return 0


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


async def spawn_process(toolstack: Toolstack, name: str, spec: Mapping[str, Any]) -> None:
    """Spawn it, and wait until it runs.  Raises: HypercallError, TimeoutError."""
    with anyio.fail_after(_RELEASE_TIMEOUT):
        while True:
            try:
                toolstack.hypervisor.spawn(0, dict(spec))
                break
            except HypercallError as failure:
                if failure.errno != errno.EEXIST:  # else: the dead one is still being cleared away
                    raise
            await anyio.sleep(_RELEASE_STEP)
        while not alive_pid(toolstack, name):
            await anyio.sleep(_RELEASE_STEP)
