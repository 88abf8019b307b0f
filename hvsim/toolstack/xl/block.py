"""xl block-list, block-attach, block-detach: the disks of a running domain."""

from hvsim.toolstack.config import parse_disk
from hvsim.toolstack.config.device_keys import disk_tree
from hvsim.toolstack.config.libxl_json import render
from hvsim.toolstack.devices.detach import Force
from hvsim.toolstack.devices.vbd.type import DISKS, lookup, plan
from hvsim.toolstack.host.device import Device
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.glance import glance
from hvsim.toolstack.host.request import CreateRequest
from hvsim.toolstack.host.store import Reader
from hvsim.toolstack.xl import devices
from hvsim.toolstack.xl.command import Call, Command, find_domain
from hvsim.toolstack.xl.rows import XlDiskRow

HEADER = (
    f"{'Vdev':<5} {'BE':<3} {'handle':<6} {'state':<5} {'evt-ch':<6} {'ring-ref':<8} "
    f"{'BE-path':<30}"
)


async def block_list(call: Call) -> int:
    """xl block-list domain...: an unknown domain is said so, and the exit code is 0."""
    words = LIST.parse(call)
    rows: list[XlDiskRow] = []
    async with glance(call.toolstack, call.reply) as store:
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


async def disks(store: Reader, domid: int) -> list[XlDiskRow]:
    """The disks of a domain, as xl finds them: libxl's list, and the frontend's own words."""
    root = DISKS.root(domid)
    rows: list[XlDiskRow] = []
    for name in filter(str.isdecimal, await store.children(root)):
        front = Device(domid, DISKS.kind, int(name), 0).frontend
        keys = ("state", "event-channel", "ring-ref")
        backend, frontend_id, *front_values = await store.read_many(
            [f"{root}/{name}/backend", f"{root}/{name}/frontend-id"]
            + [f"{front}/{key}" for key in keys]
        )
        if backend is None:
            continue
        device = DISKS.of_backend(domid, int(name), backend)
        state, port, ref = (devices.number(value) for value in front_values)
        rows.append(
            {
                "vdev": int(name),
                "backend_domid": device.backend_domid if device is not None else 0,
                "handle": devices.number(frontend_id),
                "state": state,
                "event_channel": port,
                "ring_ref": ref,
                "backend": backend,
            }
        )
    return rows


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
        await devices.attach(
            call, store, guest, DISKS, lambda: plan(toolstack, store, domid, disk, request)
        )
    return 0


async def block_detach(call: Call) -> int:
    """xl block-detach [-f] domain vdev."""
    words = DETACH.parse(call)
    args = words.rest
    async with call.toolstack.store() as store:
        domid = await find_domain(call, store, args[0])
        device = await lookup(store, domid, args[1])
        force = words.any("f", "force")
        failed = f"libxl_device_disk_{'destroy' if force else 'safe_remove'} failed."
        await devices.detach(call, store, DISKS, device, Force.ON if force else Force.OFF, failed)
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
