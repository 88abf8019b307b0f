"""xl block-list, block-attach, block-detach: the disks of a running domain."""

from typing import Any

from hvsim.toolstack.config import parse_disk
from hvsim.toolstack.config.libxl_json import render
from hvsim.toolstack.config.meaning import disk_tree
from hvsim.toolstack.devices import attached
from hvsim.toolstack.devices import disk as devices
from hvsim.toolstack.domain.layout import domain_path, libxl_path
from hvsim.toolstack.host.context import CreateRequest
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.store import Reader
from hvsim.toolstack.xl.command import Call, Command, find_domain

HEADER = (
    f"{'Vdev':<5} {'BE':<3} {'handle':<6} {'state':<5} {'evt-ch':<6} {'ring-ref':<8} "
    f"{'BE-path':<30}"
)


async def block_list(call: Call) -> int:
    """xl block-list domain...: an unknown domain is said so, and the exit code is 0."""
    words = LIST.parse(call)
    rows: list[dict[str, Any]] = []
    async with call.toolstack.glance(call.reply) as store:
        for text in words.rest:
            domid = await call.toolstack.find(store, text)
            if domid is None:
                await call.reply.err(f"{text} is an invalid domain identifier")
                continue
            rows += await disks(store, domid)
    if call.json or "json" in words:
        return await call.data(rows)
    lines = [HEADER]
    for row in rows:
        lines.append(
            f"{row['vdev']:<5d} {row['backend_domid']:<3d} {row['handle']:<6d} {row['state']:<5d} "
            f"{row['event_channel']:<6d} {row['ring_ref']:<8d} {row['backend']:<30}"
        )
    call.reply.data = rows
    await call.reply.out(*lines)
    return 0


async def disks(store: Reader, domid: int) -> list[dict[str, Any]]:
    """The disks of a domain, as xl finds them: libxl's list, and the frontend's own words."""
    root = f"{libxl_path(domid)}/device/vbd"
    rows = []
    for name in await store.children(root):
        front = f"{domain_path(domid)}/device/vbd/{name}"
        keys = ("state", "event-channel", "ring-ref")
        backend, frontend_id, *front_values = await store.read_many(
            [f"{root}/{name}/backend", f"{root}/{name}/frontend-id"]
            + [f"{front}/{key}" for key in keys]
        )
        if backend is None or not name.isdecimal():
            continue
        device = devices.of_backend(domid, "vbd", int(name), backend)
        state, port, ref = (_number(value) for value in front_values)
        rows.append(
            {
                "vdev": int(name),
                "backend_domid": device.backend_domid if device is not None else 0,
                "handle": _number(frontend_id),
                "state": state,
                "event_channel": port,
                "ring_ref": ref,
                "backend": backend,
            }
        )
    return rows


def _number(text: str | None) -> int:
    """A number of a node, -1 for a node that is missing or that a guest filled with nonsense."""
    return int(text) if text is not None and text.isdecimal() and len(text) < 12 else -1


async def block_attach(call: Call) -> int:
    """xl block-attach domain disk-spec..."""
    args = ATTACH.parse(call).rest
    toolstack = call.toolstack
    async with toolstack.store() as store:
        domid = await toolstack.find(store, args[0])
        if domid is None:
            raise ToolstackError(f"{args[0]} is an invalid domain identifier")
        disk = parse_disk(args[1:])
        if call.dryrun:
            await call.reply.text(f"disk: {render(disk_tree(disk))}\n")
            return 0
        guest = toolstack.guest(domid)
        if guest is None:
            raise ToolstackError(f"Error: Domain '{args[0]}' does not exist.")
        request = CreateRequest("", "command line", call.cwd, images=guest.request.images)
        made = await devices.attach(toolstack, store, domid, disk, request)
        await attached.keep_devices(toolstack, guest, [made])
    call.reply.data = {"devid": made.device.devid, "backend": made.device.backend}
    return 0


async def block_detach(call: Call) -> int:
    """xl block-detach [-f] domain vdev."""
    words = DETACH.parse(call)
    args = words.rest
    async with call.toolstack.store() as store:
        domid = await find_domain(call, store, args[0])
        device = await devices.lookup(store, domid, args[1])
        await attached.refresh(call.toolstack, store)
        guest = call.toolstack.guest(domid)
        gone = guest.disks.get(device.devid) if guest is not None else None
        force = words.any("f", "force")
        said = await devices.detach(call.toolstack, store, device, force=force)
        await call.reply.err(*said)
        if guest is not None and gone is not None:
            await attached.keep_devices(call.toolstack, guest, [gone], gone=True)
    return 0


LIST = Command("block-list", block_list, wanted=1, example="xl block-list guest")
ATTACH = Command(
    "block-attach",
    block_attach,
    wanted=2,
    example="xl block-attach guest format=raw,vdev=xvdb,access=rw,target=/d.img",
)
DETACH = Command(
    "block-detach",
    block_detach,
    "f",
    ("force",),
    wanted=2,
    options="-f, --force        do not wait for the domain to release the device",
    example="xl block-detach guest xvdb",
)
COMMANDS = (LIST, ATTACH, DETACH)
