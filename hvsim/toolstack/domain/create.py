"""``xl create``: from a config to a running domain (libxl_create.c).

The steps and their order are libxl's; so is what each of them says when it fails.  A domain that
could not be made leaves nothing behind but its number, which is not used again at once.
"""

import contextlib
import uuid as uuids
from collections.abc import AsyncIterator
from typing import Final

import anyio

from hvsim.domain.hypercall import HypercallError
from hvsim.toolstack.config import DomainConfig, Host, parse_config
from hvsim.toolstack.devices import attached, console, device_model, types
from hvsim.toolstack.devices.attach import make
from hvsim.toolstack.domain import builder, layout, refusals
from hvsim.toolstack.domain.builder import Wires
from hvsim.toolstack.domain.destroy import erase
from hvsim.toolstack.domain.layout import Build
from hvsim.toolstack.domain.programs import DRIVER_PROGRAM
from hvsim.toolstack.host import libxl_log, starting
from hvsim.toolstack.host.context import PAGES_PER_MIB, Toolstack
from hvsim.toolstack.host.errors import ToolstackError, absent, libxl
from hvsim.toolstack.host.guest import Guest
from hvsim.toolstack.host.nodes import libxl_path
from hvsim.toolstack.host.reasons import reason
from hvsim.toolstack.host.request import CreateRequest
from hvsim.toolstack.host.store import Store
from hvsim.xs import requests
from hvsim.xs.requests import StoreError

DM_VERSION: Final = "qemu_xen"
HERE: Final = Host()


def understood(request: CreateRequest, host: Host = HERE) -> DomainConfig:
    """What a request's config means, whether it can be had here or not.  Raises: ConfigError."""
    program = request.program or (DRIVER_PROGRAM if request.profile == "driver" else None)
    return parse_config(
        request.config, request.config_path, request.overrides, program=program, host=host
    )


def config_of(request: CreateRequest) -> DomainConfig:
    """The config of a request.  Raises: ConfigError, ToolstackError in xl's words."""
    config = understood(request)
    check(config)
    return config


def check(config: DomainConfig) -> None:
    """Refuse what cannot be had here.  Raises: ToolstackError in xl's words."""
    for refusal in refusals.before_domain(config):
        raise refusal.error()


async def create(
    toolstack: Toolstack,
    request: CreateRequest,
    *,
    uuid: str | None = None,
    hasty: bool = False,
    wait: bool = True,
    instead_of: Guest | None = None,
) -> Guest:
    """Make a domain and, unless it is to stay paused, let it run.

    Args:
        uuid: of the virtual machine that this is another life of.
        hasty: let it run as soon as it can, before its disks and its console are in place: for a
            backend that others wait for.
        wait: until its process runs; else ``guest.started`` and ``guest.failure`` tell later.
        instead_of: the life of it that has ended, whose deaths it inherits.

    Raises: ConfigError; ToolstackError in xl's words with its exit code.
    """
    config = config_of(request)
    return await create_parsed(
        toolstack, request, config, uuid=uuid, hasty=hasty, wait=wait, instead_of=instead_of
    )


async def create_parsed(
    toolstack: Toolstack,
    request: CreateRequest,
    config: DomainConfig,
    *,
    uuid: str | None = None,
    hasty: bool = False,
    wait: bool = True,
    instead_of: Guest | None = None,
) -> Guest:
    """As :func:`create`, of a config that is parsed already."""
    begun, waits = "libxl_create.c:2081:do_domain_create", "libxl_create.c:2120:do_domain_create"
    async with libxl_log.operation(begun, waits):
        guest = await _create(toolstack, request, config, uuid, hasty, instead_of)
    if request.paused:
        guest.started.set()
    elif not hasty:
        await _unpause(toolstack, guest)
    toolstack.notice()
    if wait:
        async with _undone_if_it_fails(toolstack, guest):
            await starting.settle(toolstack, guest)
    toolstack.keep(guest, "built")
    toolstack.notice()
    return guest


async def _create(
    toolstack: Toolstack,
    request: CreateRequest,
    config: DomainConfig,
    uuid: str | None,
    hasty: bool,
    instead_of: Guest | None,
) -> Guest:
    """A domain that is complete, and does not run yet unless *hasty*."""
    uuid = uuid or config.uuid or toolstack.dice.uuid()
    pages = config.maxmem * PAGES_PER_MIB
    try:
        domid = toolstack.hypervisor.create_domain(
            uuids.UUID(uuid).bytes, config.vcpus, config.maxvcpus, pages
        )
    except HypercallError as failure:
        raise ToolstackError(
            libxl(f"libxl_create.c:695:libxl__domain_make: domain creation fail: {failure}"),
            libxl("libxl_create.c:1296:initiate_domain_create: cannot make domain: -3"),
            code=3,
        ) from None
    await libxl_log.detail("libxl_create.c:662:libxl__domain_make", "passthrough: disabled")
    guest = Guest(domid, config.name, uuid, request, config)
    if instead_of is not None:
        guest.lives, guest.replaces = instead_of.lives, instead_of.domid
    for dead in [dead for dead in toolstack.dead.values() if dead.name == guest.name]:
        del toolstack.dead[dead.domid]
    toolstack.keep(guest, "building")
    async with _undone_if_it_fails(toolstack, guest), toolstack.store() as store:
        await _make(toolstack, store, guest, hasty)
    return guest


async def _unpause(toolstack: Toolstack, guest: Guest) -> None:
    domid = guest.domid
    begun, waits = "libxl_domain.c:704:libxl_domain_unpause", "libxl_domain.c:712"
    async with (
        _undone_if_it_fails(toolstack, guest),
        libxl_log.operation(begun, f"{waits}:libxl_domain_unpause", domid),
    ):
        _let_run(toolstack, guest)


@contextlib.asynccontextmanager
async def _undone_if_it_fails(toolstack: Toolstack, guest: Guest) -> AsyncIterator[None]:
    """Nothing is left of a domain when the block fails; the failure is told in libxl's words."""
    domid = guest.domid
    try:
        yield
    except BaseException as failure:
        with anyio.CancelScope(shield=True):
            await _undo(toolstack, guest)
        if isinstance(failure, starting.NotStartedError):
            raise starting.NotStartedError(*failure.lines, code=3) from None
        if isinstance(failure, ToolstackError):
            raise ToolstackError(*failure.lines, *absent(domid), code=3) from None
        if isinstance(failure, HypercallError | StoreError | OSError):
            text = f"Domain {domid}:{reason(failure)}"
            line = libxl(f"libxl_create.c:1640:domcreate_rebuild_done: {text}")
            raise ToolstackError(line, *absent(domid), code=3) from failure
        raise


async def _make(toolstack: Toolstack, store: Store, guest: Guest, hasty: bool) -> None:
    domid = guest.domid
    await _check_name(toolstack, store, guest)
    toolstack.guests[domid] = guest
    skeleton = layout.domain_skeleton(domid, guest.uuid, guest.name, guest.driver)
    await store.commit(skeleton, f"the nodes of domain {domid}")
    dm_version = requests.write(f"{libxl_path(domid)}/dm-version", DM_VERSION)
    await store.batch([dm_version])
    for kind in types.connecting(toolstack):
        planned = await kind.plan(toolstack, store, guest)
        guest.of(kind.kind).update({one.device.devid: one for one in planned})
    await _say_what_is_built(guest)
    for refusal in (refusals.kernel(guest.config), *types.twice(guest.config)):
        if refusal is not None:
            raise refusal.error(domid)
    wires = builder.build(toolstack, guest)
    await _say_what_was_built(guest, wires)
    await store.commit(_built(guest, wires, toolstack.wall()), f"the nodes of domain {domid}")
    await store.call(requests.introduce(domid, wires.store_gfn, wires.store_port))
    if hasty:
        _let_run(toolstack, guest)
    await store.batch([dm_version])
    for kind in types.known(toolstack):
        if kind is types.CONSOLE:
            port, gfn = wires.console_port, wires.console_gfn
            await console.add(toolstack, store, domid, port, gfn, wait=not hasty)
        for one in list(guest.of(kind.kind).values()):
            try:
                await make(toolstack, store, kind, one)
            except ToolstackError as failure:
                raise ToolstackError(*failure.lines, kind.not_added(domid)) from None
    if device_model.needed(guest):
        await device_model.start(toolstack, store, guest)
    guest.complete = True
    await attached.keep(toolstack, guest, kernel_of(guest))


def _let_run(toolstack: Toolstack, guest: Guest) -> None:
    toolstack.hypervisor.unpause(guest.domid)
    toolstack.tasks.start_soon(starting.follow, toolstack, guest)


async def _say_what_is_built(guest: Guest) -> None:
    config, domid = guest.config, guest.domid
    await libxl_log.debug("libxl_create.c:1342:initiate_domain_create", "running bootloader", domid)
    await libxl_log.debug(
        "libxl_bootloader.c:417:libxl__bootloader_run",
        "no bootloader configured, using user supplied kernel",
        domid,
    )
    await libxl_log.unregistered(guest)
    await libxl_log.builder(f'xc_dom_allocate: cmdline="{config.cmdline}", features=""')
    kernel = kernel_of(guest)
    await libxl_log.debug("libxl_dom.c:633:libxl__build_pv", f"pv kernel mapped 0 path {kernel}")
    await libxl_log.builder(f'xc_dom_kernel_file: filename="{kernel}"')
    if config.ramdisk is not None:
        await libxl_log.builder(f'xc_dom_module_file: filename="{config.ramdisk}"')
    pages = config.memory * PAGES_PER_MIB
    await libxl_log.builder(
        f"xc_dom_mem_init: mem {config.memory} MB, pages {pages:#x} pages, 4k each"
    )


async def _say_what_was_built(guest: Guest, wires: Wires) -> None:
    for ref, gfn in ((0, wires.console_gfn), (1, wires.store_gfn)):
        await libxl_log.builder(
            f"xc_dom_set_gnttab_entry: d{guest.domid} gnt[{ref}] -> d0 {gfn:#x}"
        )
    await libxl_log.builder("xc_dom_release: called")


async def _check_name(toolstack: Toolstack, store: Store, guest: Guest) -> None:
    infos = toolstack.hypervisor.domains()
    taken = {known.name for known in toolstack.guests.values() if known.domid != guest.domid}
    if guest.name in taken or guest.name in await toolstack.names(store, infos):
        raise ToolstackError(
            libxl(
                f"libxl_domain.c:81:libxl__domain_rename: Domain {guest.domid}:Domain with "
                f'name "{guest.name}" already exists.'
            ),
            libxl(
                f"libxl_create.c:1296:initiate_domain_create: Domain {guest.domid}:cannot make "
                "domain: -6"
            ),
        )


def kernel_of(guest: Guest) -> str:
    """What the store and libxl's records call its kernel."""
    return guest.config.kernel or builder.program_of(guest.config, guest.request)


def _built(guest: Guest, wires: Wires, wall: float) -> list[requests.Request[object]]:
    config = guest.config
    return layout.built(
        Build(
            domid=guest.domid,
            uuid=guest.uuid,
            memory_kib=config.memory * 1024,
            maxmem_kib=config.maxmem * 1024,
            vcpus=config.vcpus,
            maxvcpus=config.maxvcpus,
            store_gfn=wires.store_gfn,
            store_port=wires.store_port,
            kernel=kernel_of(guest),
            ramdisk=config.ramdisk,
            cmdline=config.cmdline,
            start_time=wall,
        )
    )


async def _undo(toolstack: Toolstack, guest: Guest) -> None:
    """Leave nothing of a domain that could not be made."""
    ours = toolstack.guests.get(guest.domid) is guest
    # What may be left then is said by the failure that brought us here.
    with contextlib.suppress(ToolstackError, OSError):
        if ours:
            async with toolstack.store() as store:
                await erase(toolstack, store, guest.domid)
    toolstack.guests.pop(guest.domid, None)
    toolstack.notes.drop(guest.domid, guest.uuid)
    if not ours or toolstack.hypervisor.info(guest.domid) is not None:
        with contextlib.suppress(HypercallError):
            await toolstack.hypervisor.destroy(guest.domid)
