"""The first console of a domain, which xenconsoled serves."""

from typing import Final

from hvsim.toolstack.devices.device_type import DeviceType
from hvsim.toolstack.devices.nodes import backend_half, libxl_copy, libxl_head
from hvsim.toolstack.host import libxl_log
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.device import Device
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.nodes import directory, readable_by, write
from hvsim.toolstack.host.store import Store
from hvsim.toolstack.host.waiting import Dom0Process
from hvsim.xs.requests import Request

LIMIT: Final = 1048576
"""Bytes of console output that a real xenconsoled keeps for a slow reader."""
TIMEOUT: Final = 10.0
"""Seconds that xenconsoled has to serve a new console."""


class Console(DeviceType):
    """It has no handshake: xenconsoled watches no state."""

    kind = "console"
    has_handshake = False


def add_console(device: Device, port: int, gfn: int) -> list[Request[object]]:
    """The transaction of the first console, which xenconsoled serves."""
    reader = readable_by(device.domid)
    batch = libxl_head(device)
    batch += directory(device.frontend, reader)
    batch += write(f"{device.frontend}/backend", device.backend)
    batch += write(f"{device.frontend}/backend-id", device.backend_domid, device.front_perms)
    for key, value in (
        ("limit", str(LIMIT)),
        ("type", "xenconsoled"),
        ("output", "pty"),
        ("tty", ""),
        ("port", str(port)),
        ("ring-ref", str(gfn)),
    ):
        batch += write(f"{device.frontend}/{key}", value, reader)
    nodes = [
        ("frontend-id", str(device.domid)),
        ("online", "1"),
        ("state", "1"),
        ("protocol", "vt100"),
    ]
    return batch + backend_half(device, nodes) + libxl_copy(device, nodes)


async def add(
    toolstack: Toolstack, store: Store, domid: int, port: int, gfn: int, *, wait: bool
) -> None:
    """Make the console of a new domain, and *wait* until it is served.

    Raises: ToolstackError; StoreError.
    """
    console = Device(domid, Console.kind, 0, 0)
    await store.commit(add_console(console, port, gfn), f"the console of domain {domid}")
    if not wait:
        return
    tty, daemon = f"{console.frontend}/tty", Dom0Process("xenconsoled")
    log = libxl_log.WatchLog(tty)
    try:
        await log.register()
        await store.wait_for(
            tty, bool, TIMEOUT, f"the console of domain {domid} to be served", daemon
        )
        await log.event()
        await log.deregister()
        await libxl_log.unregistered(log)
    except TimeoutError as late:
        trouble = daemon.trouble(toolstack.census())
        why = "xenconsoled runs; its log is log/xenconsoled.log in the lab's run directory"
        raise ToolstackError(f"xl: {late}: {why if trouble is None else trouble.text}") from None
