"""From memory and a program to a domain that only waits for its unpause (libxl_dom.c)."""

from dataclasses import dataclass
from typing import Any, Final

from hvsim.abi import errno
from hvsim.abi.grant_table import GNTTAB_RESERVED_CONSOLE, GNTTAB_RESERVED_XENSTORE
from hvsim.domain.hypercall import HypercallError
from hvsim.drivers.net.frames import own_frames
from hvsim.toolstack.config import DomainConfig
from hvsim.toolstack.devices.vif.type import INTERFACES
from hvsim.toolstack.domain import guest_network
from hvsim.toolstack.domain.programs import DRIVER_PROGRAM, IDLE_PROGRAM, NETWORK_PROGRAM
from hvsim.toolstack.host.context import PAGES_PER_MIB, Toolstack
from hvsim.toolstack.host.errors import ToolstackError, libxl
from hvsim.toolstack.host.execute import outside
from hvsim.toolstack.host.guest import Guest
from hvsim.toolstack.host.request import CreateRequest
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import read

NETWORK_STACK: Final = "hvsim.drivers.net.stack:start"
"""What brings up the network stack of a domain that has one."""
_NETWORKED: Final = (NETWORK_PROGRAM, "domains.driver:main")

_STORE_DOMID: Final = 0
_CONSOLE_DOMID: Final = 0


@dataclass(frozen=True, slots=True)
class Wires:
    """Frames and ports of the two channels that every domain is born with."""

    store_gfn: int
    store_port: int
    console_gfn: int
    console_port: int


def program_of(config: DomainConfig, request: CreateRequest) -> str:
    """What runs in the domain."""
    fallback = DRIVER_PROGRAM if request.profile == "driver" else IDLE_PROGRAM
    return request.program or config.program or fallback


def build(toolstack: Toolstack, guest: Guest) -> Wires:
    """Give the domain memory, its two channels, what it is told at birth, and its program.

    Raises: ToolstackError in libxl's words.
    """
    hypervisor, domid, config = toolstack.hypervisor, guest.domid, guest.config
    try:
        store_gfn, console_gfn = hypervisor.populate(domid, config.memory * PAGES_PER_MIB)
    except HypercallError as failure:
        if failure.errno != errno.ENOMEM:
            raise
        raise ToolstackError(
            "xc: error: panic: xg_dom_boot.c:119: xc_dom_boot_mem_init: can't allocate low "
            "memory for domain: Out of memory",
            libxl(
                "libxl_dom.c:586:libxl__build_dom: xc_dom_boot_mem_init failed: "
                "Cannot allocate memory"
            ),
            _rebuild_failed(domid),
        ) from None
    wires = Wires(
        store_gfn=store_gfn,
        store_port=hypervisor.alloc_unbound(domid, _STORE_DOMID),
        console_gfn=console_gfn,
        console_port=hypervisor.alloc_unbound(domid, _CONSOLE_DOMID),
    )
    hypervisor.seed_grant(domid, GNTTAB_RESERVED_CONSOLE, _CONSOLE_DOMID, console_gfn)
    hypervisor.seed_grant(domid, GNTTAB_RESERVED_XENSTORE, _STORE_DOMID, store_gfn)
    hypervisor.set_start_info(
        domid,
        {
            "store_gfn": wires.store_gfn,
            "store_port": wires.store_port,
            "console_gfn": wires.console_gfn,
            "console_port": wires.console_port,
            "cmd_line": config.cmdline,
            "name": config.name,
        },
    )
    hypervisor.load(domid, spawn_spec(toolstack, guest))
    return wires


def spawn_spec(toolstack: Toolstack, guest: Guest) -> Spawn:
    """How the spawner is to make the domain's process."""
    request = guest.request
    args = dict(request.args)
    extra: dict[str, Any] = {}
    if guest.driver:
        args["image_owner"] = toolstack.images.owner
    if "exec" in args:
        extra = outside(toolstack, guest.domid, request)
    nics = guest.of(INTERFACES.kind)
    if nics:
        args["net"] = guest_network.stack(guest)
    networked = nics or args.get("net") or program_of(guest.config, request) in _NETWORKED
    if networked and not own_frames(args):
        extra["net"] = NETWORK_STACK
    declared = toolstack.defaults.devices
    if declared:
        extra["drivers"] = {
            "frontends": {one.type: one.frontend for one in declared},
            "backends": {one.type: one.backend for one in declared if one.type in request.serves},
        }
    told = {
        "name": guest.name,
        "domid": guest.domid,
        "process": "main",
        "program": program_of(guest.config, request),
        "profile": request.profile,
        "path": list(request.path),
        "files": [list(entry) for entry in request.files],
        "stdout": str(toolstack.run_dir / "log" / f"{guest.name}.log"),
        "args": args,
        "walls": request.walls,
        "lab": toolstack.lab,
    }
    return read(Spawn, {**told, **extra})


def _rebuild_failed(domid: int) -> str:
    return libxl(
        f"libxl_create.c:1640:domcreate_rebuild_done: Domain {domid}:cannot (re-)build domain: -3"
    )
