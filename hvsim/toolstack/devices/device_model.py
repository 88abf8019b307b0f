"""QEMU as a device model: a process of dom0 for each guest that has disks which QEMU serves.

The guest is a PV guest: there is nothing to be emulated, QEMU is there for its block layer, the
backend of class "qdisk" (libxl_dm.c).  libxl writes the devices' nodes, starts QEMU with the
guest's number, and waits until it has said "running"; QEMU finds the devices in the store and
watches for more.

**When QEMU dies**, nobody on a real host notices: both halves stay Connected and the guest's I/O
hangs for ever (recording 53).  Here the toolstack starts it again, for which each device begins
anew: the backend's half as at an attach, the frontend at state 1, as when a driver domain was
rebuilt (move.py).  blkfront keeps what was not answered and issues it again.

At the end the devices close first; then QEMU gets libxl's SIGHUP, upon which it writes out and
closes its images.
"""

from __future__ import annotations

import contextlib
import os
import signal
from functools import partial
from pathlib import Path
from typing import Final

import anyio

from hvsim.domain.hypercall import HypercallError
from hvsim.domain.restarts import Restarts, given_up
from hvsim.linux import proc
from hvsim.toolstack.devices import nodes, qemu
from hvsim.toolstack.devices.move import move
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.device import Attached
from hvsim.toolstack.host.dom0 import alive_pid, end_of, row_of, spawn_process
from hvsim.toolstack.host.errors import ToolstackError, libxl
from hvsim.toolstack.host.guest import Guest
from hvsim.toolstack.host.nodes import domain_path
from hvsim.toolstack.host.store import Store, remove_with_empty_parents
from hvsim.toolstack.host.trouble import stands_still
from hvsim.toolstack.host.waiting import NOBODY, Dom0Process, waiting
from hvsim.wire.spawn import Spawn
from hvsim.xs import requests

START_TIMEOUT: Final = 60.0
"""Seconds that QEMU has to say that it runs (LIBXL_DEVICE_MODEL_START_TIMEOUT)."""
STOP_TIMEOUT: Final = 10.0
"""Seconds that it has to write out and close its images."""
CONSOLE_LIMIT: Final = "1048576"
_LOOK: Final = 0.02


def disks_of(guest: Guest) -> list[Attached]:
    """The disks that the guest's QEMU in dom0 serves."""
    return [
        disk
        for disk in guest.devices
        if disk.device.backend_kind == "qdisk" and disk.device.backend_domid == 0
    ]


def needed(guest: Guest) -> bool:
    """Whether a guest has a QEMU (libxl__need_xenpv_qemu)."""
    return bool(disks_of(guest))


def process_name(domid: int) -> str:
    """What the process is called in ``hvsim ps`` and for ``hvsim fault``."""
    return f"qemu-{domid}"


def arguments(guest: Guest) -> list[str]:
    """libxl's command line (libxl__build_device_model_args_new), without the two QMP sockets in
    /var/run/xen, which nobody here would ask."""
    return [
        qemu.program() or qemu.PROGRAMS[0],
        *("-xen-domid", str(guest.domid)),
        *("-no-shutdown", "-nodefaults", "-no-user-config", "-xen-attach"),
        *("-name", guest.name),
        *("-vnc", "none", "-display", "none", "-nographic"),
        *("-machine", "xenpv"),
        *("-m", str(guest.config.maxmem)),
    ]


async def check_running(store: Store, domid: int) -> None:
    """A disk for QEMU cannot be added to a guest that has none.

    Raises: ToolstackError in libxl's words (recording 50).
    """
    if await store.read(f"{nodes.device_model_path(domid)}/state") != "running":
        raise ToolstackError(
            libxl(
                f"libxl_dm.c:3845:libxl__dm_check_start: Domain {domid}:device model required "
                "but not running"
            )
        )


async def start(toolstack: Toolstack, store: Store, guest: Guest) -> None:
    """Start a new guest's QEMU, wait until it runs, and keep it running.

    Raises: ToolstackError in libxl's words, with the end of QEMU's log.
    """
    await store.call(requests.mkdir(nodes.device_model_path(guest.domid)))
    try:
        await _start(toolstack, store, guest)
    except (TimeoutError, HypercallError) as failure:
        raise ToolstackError(
            libxl(
                f"libxl_dm.c:3129:device_model_spawn_outcome: Domain {guest.domid}:domain "
                f"{guest.domid} device model: spawn failed (rc=-3)"
            ),
            libxl(
                f"libxl_create.c:1921:domcreate_devmodel_started: Domain {guest.domid}:device "
                "model did not start: -3"
            ),
            f"xl: {failure}",
        ) from None
    adopt(toolstack, guest)


def adopt(toolstack: Toolstack, guest: Guest) -> None:
    """Keep the QEMU of *guest* running from here on; one that has died meanwhile is started."""
    name = f"keeping {process_name(guest.domid)} of {guest.name} running"
    toolstack.begin(name, partial(_supervise, toolstack, guest))


async def stop(toolstack: Toolstack, store: Store, domid: int) -> None:
    """End the QEMU of a domain that goes, if it has one.  Its devices are closed."""
    path = nodes.device_model_path(domid)
    if await store.read(path) is None:
        return
    guest = toolstack.guest(domid)
    if guest is not None:
        guest.handled = True  # nobody starts it again
    parent = alive_pid(toolstack, process_name(domid))
    _tell_child(parent, signal.SIGHUP)
    name = process_name(domid)
    with (
        waiting(f"{name} to close its images and end", Dom0Process(name), STOP_TIMEOUT),
        anyio.move_on_after(0.0 if stands_still(parent) else STOP_TIMEOUT),
    ):
        await end_of(parent)
    _kill(toolstack, domid)

    async def remove(tx: int) -> None:
        await remove_with_empty_parents(store, tx, path)

    await store.transaction(remove, f"removing {path}")


def _child(pid: int) -> int:
    """The one child of a process, which is QEMU when it is that below a QEMU; 0 for none."""
    return next(iter(proc.children(pid)), 0)


def _tell_child(parent: int, number: signal.Signals) -> None:
    """Send a signal to the one child of a process, or to nobody: a number that was read from /proc
    may be somebody else's by now, but not if it is the child's still when we hold it."""
    child = _child(parent)
    if not child:
        return
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(child)
        try:
            if _child(parent) == child:
                signal.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)


def _kill(toolstack: Toolstack, domid: int) -> None:
    name = process_name(domid)
    if alive_pid(toolstack, name):
        with contextlib.suppress(HypercallError):  # it has died meanwhile
            toolstack.hypervisor.fault(0, name, "kill")


async def _start(toolstack: Toolstack, store: Store, guest: Guest) -> None:
    """Raises: HypercallError, TimeoutError, which says what QEMU said."""
    name = process_name(guest.domid)
    state = f"{nodes.device_model_path(guest.domid)}/state"
    await spawn_process(toolstack, name, _spec(toolstack, guest))
    told = 0
    with (
        waiting(f"{name} to say that it runs", Dom0Process(name), START_TIMEOUT),
        anyio.move_on_after(START_TIMEOUT),
    ):
        while parent := alive_pid(toolstack, name):
            if not told and (told := _child(parent)):
                async with toolstack.store("SCRIPT") as script:
                    image = f"{domain_path(guest.domid)}/image/device-model-pid"
                    await script.write(image, str(told))
            if await store.read(state) == "running":
                return
            await anyio.sleep(_LOOK)
    trouble = Dom0Process(name).trouble(toolstack.census())
    why = f"{trouble.text}: " if trouble is not None else ""
    raise TimeoutError(f"QEMU did not come to run: {why}{_last_words(toolstack, guest)}")


def _spec(toolstack: Toolstack, guest: Guest) -> Spawn:
    """The process that starts QEMU and is the kernel below it."""
    return Spawn(
        name="Domain-0",
        process=process_name(guest.domid),
        program="domains.daemon:main",
        profile="dom0",
        store_socket=str(toolstack.store_path),
        place=str(toolstack.place),
        args={
            "lab": toolstack.lab,
            "run_dir": str(toolstack.run_dir),
            "exec": arguments(guest),
            "env": {"XEN_QEMU_CONSOLE_LIMIT": CONSOLE_LIMIT},
            "images": [
                [use.path, use.readonly]
                for disk in disks_of(guest)
                if (use := disk.half.image) is not None
            ],
        },
        stdout=str(_log(toolstack, guest)),
    )


def _log(toolstack: Toolstack, guest: Guest) -> Path:
    return toolstack.run_dir / "log" / f"qemu-dm-{guest.name}.log"


def _last_words(toolstack: Toolstack, guest: Guest) -> str:
    try:
        lines = _log(toolstack, guest).read_text(errors="replace").split("\n")
    except OSError:
        lines = []
    said = " / ".join(line for line in lines[-6:] if line.strip())
    return said or "it said nothing"


async def _supervise(toolstack: Toolstack, guest: Guest) -> None:
    """Start QEMU again whenever it dies, as long as its guest lives."""
    name = process_name(guest.domid)
    log = toolstack.dom.log
    lives = Restarts()
    while True:
        with waiting(f"the end of {name}", NOBODY):
            await end_of(alive_pid(toolstack, name))
        if _over(toolstack, guest):
            return
        row = row_of(toolstack, name)
        delay = lives.died(anyio.current_time(), struck=row is not None and bool(row["struck"]))
        if delay is None:
            text = given_up(name, _last_words(toolstack, guest))
            log(text)
            toolstack.gave_up[name] = text
            toolstack.hypervisor.note("toolstack.given-up", 0, text)
            return
        text = f"{name} has died; it is started again for {guest.name}"
        log(text)
        with contextlib.suppress(HypercallError):
            toolstack.hypervisor.note("toolstack.restart", 0, text)
        with waiting(f"the time to start {name} again", NOBODY, delay):
            await anyio.sleep(delay)
        if _over(toolstack, guest):
            return
        try:
            async with toolstack.store() as store:
                await _again(toolstack, store, guest)
        except (HypercallError, TimeoutError, ToolstackError, OSError) as failure:
            log(f"cannot start {name} again: {failure}")


async def _again(toolstack: Toolstack, store: Store, guest: Guest) -> None:
    for disk in disks_of(guest):
        await move(store, guest, disk, disk.device.backend_domid)
    await store.call(requests.rm(f"{nodes.device_model_path(guest.domid)}/state"))
    await _start(toolstack, store, guest)
    if _over(toolstack, guest):  # it went while its QEMU was coming
        _kill(toolstack, guest.domid)


def _over(toolstack: Toolstack, guest: Guest) -> bool:
    return (
        toolstack.stopping
        or bool(toolstack.lost)
        or guest.handled
        or toolstack.guests.get(guest.domid) is not guest
    )
