"""A hotplug script that a config names: the program itself is run, with what libxl gives it.

It is a process of the domain that serves the device: of dom0, then it stands where dom0's kernel
process has its links (`hvsim.spawn.backstage`); or of a driver domain, then behind its walls, with
its rights in the store.  What it prints goes to ``log/hotplug.log``.

Source: tools/libs/light/libxl_linux.c, libxl_device.c; docs/misc/block-scripts.txt.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio

from hvsim.domain.hypercall import HypercallError
from hvsim.printable import printable
from hvsim.toolstack.devices import store_relay
from hvsim.toolstack.host import execute
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.device import Device
from hvsim.toolstack.host.errors import ToolstackError, libxl
from hvsim.toolstack.host.nodes import write
from hvsim.wire import execution, requests, rights
from hvsim.wire.execution import GIVEN, MESSAGE_MAX, Begin, Exited, Failed
from hvsim.wire.lab_requests import Exec
from hvsim.wire.typed import BadMessage
from hvsim.xs.sockets import open_socket

DIRECTORY: Final = "/etc/xen/scripts"
"""Where a script is that is named without a directory (XEN_SCRIPT_DIR)."""
TIMEOUT: Final = 40.0
"""Seconds that a script may take (LIBXL_HOTPLUG_TIMEOUT)."""

_LOOP_MAJOR: Final = 7
_LOOP_SET_STATUS64: Final = 0x4C04
_LOOP_GET_STATUS64: Final = 0x4C05
_LO_FLAGS_AUTOCLEAR: Final = 4
_LOOP_INFO64: Final = 232
_LOOP_FLAGS_AT: Final = 52

_LOOPS: Final[dict[str, int]] = {}
"""Path of a backend -> its loop device, which goes when nobody has it open any more."""


@dataclass(frozen=True, slots=True)
class Script:
    """One run of a script.

    Attributes:
        action: its first word; *words* are the others.
        named: a config names it, so that it is really run.
        networked: it works on dom0's links.
        holds: it may set up a loop device, which we keep.
    """

    path: str
    action: str
    words: tuple[str, ...]
    environment: Mapping[str, str]
    named: bool
    networked: bool = False
    holds: bool = False

    @property
    def command(self) -> str:
        """As libxl shows it."""
        return f"{self.path} {self.action}"


def absolute(name: str) -> str:
    """Where the script is that a config names so."""
    return name if name.startswith("/") else f"{DIRECTORY}/{name}"


def failed(command: str, pid: int, status: int, error: str) -> list[str]:
    """libxl's words for a script that failed, and for what it left in ``hotplug-error``."""
    lines = [
        libxl(
            f"libxl_exec.c:117:libxl_report_child_exitstatus: {command} [{pid}] exited with "
            f"error status {status}"
        )
    ]
    if error:
        lines.append(libxl(f"libxl_device.c:1337:device_hotplug_child_death_cb: script: {error}"))
    return lines


async def run(toolstack: Toolstack, script: Script, device: Device) -> None:
    """Run a script for a device of dom0.

    Raises: ToolstackError in libxl's words: it failed, did not end in time, or cannot be run.
    """
    pid, status = await _run(toolstack, script, 0, device)
    if status:
        async with toolstack.store() as store:
            error = await store.read(f"{device.backend}/hotplug-error")
            if not error:
                error = f"{script.command} ended with status {status}; see log/hotplug.log"
                await store.batch(
                    [
                        *write(f"{device.backend}/hotplug-error", error),
                        *write(f"{device.backend}/hotplug-status", "error"),
                    ]
                )
                error = ""
        raise ToolstackError(*failed(script.command, pid, status, error))
    if script.holds:
        async with toolstack.store() as store:
            hold(device, await store.read(f"{device.backend}/node") or "")


async def run_for_driver(toolstack: Toolstack, script: Script, device: Device) -> None:
    """Run a script in the driver domain that serves a device, one at a time in each.

    As on a real host its failure is nobody's but the device's: what is wrong stands in the
    backend's ``hotplug-error``, and the toolstack goes on.
    """
    async with toolstack.script_lock(device.backend_domid):
        try:
            _, status = await _run(toolstack, script, device.backend_domid, device)
            text = f"{script.command} ended with status {status}" if status else ""
        except (ToolstackError, HypercallError, OSError) as failure:
            text = str(failure)
        if not text:
            return
        toolstack.dom.log(f"{device.backend}: {text}")
        async with toolstack.store("SCRIPT") as store:
            if await store.read(f"{device.backend}/hotplug-error") is None:
                await store.batch(
                    [
                        *write(f"{device.backend}/hotplug-error", text),
                        *write(f"{device.backend}/hotplug-status", "error"),
                    ]
                )


async def _run(toolstack: Toolstack, script: Script, domid: int, device: Device) -> tuple[int, int]:
    """(process, status) of a script.  Raises: ToolstackError, HypercallError, OSError."""
    log = toolstack.run_dir / "log" / "hotplug.log"
    with (
        tempfile.TemporaryDirectory(prefix="s", dir=toolstack.run_dir) as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener,
        open(os.devnull, "rb") as nothing,
        open(log, "ab") as output,
    ):
        listener.setblocking(False)
        listener.bind(f"{folder}/s")
        listener.listen(1)
        request = Exec(
            domain=str(domid),
            argv=[script.path, script.action, *script.words],
            stdio=f"{folder}/s",
            # No device node is of use to a script, and it starts many programs.
            env={**script.environment, "LD_PRELOAD": ""},
        )
        try:
            requests.check(request)
        except requests.BadRequest as bad:
            raise ToolstackError(str(bad), code=bad.code) from None
        async with contextlib.AsyncExitStack() as stack:
            # A driver domain sees its own files, and this one.
            files = [(script.path, "r")] if domid else []
            more: dict[str, Any] = {}
            if domid == 0:
                more = {"room": _room(toolstack, script), "store_socket": f"{folder}/x"}
                connect = partial(
                    open_socket, str(toolstack.store_path), "SCRIPT", toolstack.lab, blocking=False
                )
                await stack.enter_async_context(store_relay.door(f"{folder}/x", connect))
            started = await execute.execute(toolstack, request, files=files, more=more)
            pid = int(started["pid"])
            try:
                with anyio.fail_after(TIMEOUT):
                    return pid, await _see_through(listener, nothing.fileno(), output.fileno())
            except TimeoutError:
                raise ToolstackError(
                    libxl(
                        f"libxl_aoutils.c:539:async_exec_timeout: killing execution of "
                        f"{script.command} because of timeout"
                    ),
                    *failed(script.command, pid, 9, ""),
                ) from None


async def _see_through(listener: socket.socket, nothing: int, output: int) -> int:
    """Give the program its descriptors, and wait for its end; returns its status."""
    await anyio.wait_socket_readable(listener)
    with listener.accept()[0] as program:
        program.setblocking(False)
        begin = execution.packed(Begin(streams=(GIVEN, GIVEN, GIVEN)))
        rights.send(program, [begin], [nothing, output, output], socket.MSG_DONTWAIT)
        while True:
            await anyio.wait_socket_readable(program)
            data = program.recv(MESSAGE_MAX)
            try:
                message = execution.from_program(data)
            except BadMessage:
                raise ToolstackError(
                    "the process of a hotplug script ended before its script"
                ) from None
            match message:
                case Exited(status=status):
                    return status
                case Failed(text=text):
                    os.write(output, f"libxl: cannot execute {printable(text)}\n".encode())
                    return 255  # what libxl's child leaves with


def _room(toolstack: Toolstack, script: Script) -> dict[str, Any]:
    """Where a script of dom0 stands; see `hvsim.spawn.backstage`."""
    kernel = 0
    if script.networked:
        rows = toolstack.hypervisor.processes()
        kernel = next(
            (
                int(row["pid"])
                for row in rows
                if row["domid"] == 0 and row["process"] == "kernel" and row["alive"]
            ),
            0,
        )
    base = toolstack.run_dir / "hotplug"
    places = {"/run/xen-hotplug": base / "locks", "/var/log/xen": base / "log"}
    for path in (*places.values(), base / "mount"):
        Path(path).mkdir(parents=True, exist_ok=True)
    return {
        "network": kernel,
        "places": {name: str(path) for name, path in places.items()},
        "mount": str(base / "mount"),
    }


def hold(device: Device, node: str) -> None:
    """Keep a loop device that a script has set up, and let it end with us.

    The script of the device that goes detaches it; should the lab die before, nobody else would.
    """
    try:
        fd = os.open(node, os.O_RDWR | os.O_CLOEXEC) if node.startswith("/dev/loop") else -1
    except OSError:
        return
    if fd < 0:
        return
    try:
        if os.major(os.fstat(fd).st_rdev) == _LOOP_MAJOR:
            info = bytearray(fcntl.ioctl(fd, _LOOP_GET_STATUS64, bytes(_LOOP_INFO64)))
            (flags,) = struct.unpack_from("=I", info, _LOOP_FLAGS_AT)
            struct.pack_into("=I", info, _LOOP_FLAGS_AT, flags | _LO_FLAGS_AUTOCLEAR)
            fcntl.ioctl(fd, _LOOP_SET_STATUS64, bytes(info))
            _LOOPS[device.backend], fd = fd, _LOOPS.get(device.backend, -1)
    except OSError:
        pass  # it is as the script has left it
    finally:
        if fd >= 0:
            os.close(fd)


def let_go(device: Device) -> None:
    """The device has gone, and its script has seen to it."""
    fd = _LOOPS.pop(device.backend, -1)
    if fd >= 0:
        os.close(fd)
