"""xl network-list, network-attach, network-detach: the interfaces of a running domain."""

from hvsim.toolstack.config import parse_vif, words_of
from hvsim.toolstack.config.device_keys import vif_tree
from hvsim.toolstack.config.libxl_json import render
from hvsim.toolstack.devices import counters
from hvsim.toolstack.devices.detach import Force
from hvsim.toolstack.devices.vif.type import INTERFACES, lookup, next_number, plan
from hvsim.toolstack.host.device import Attached, Device
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.glance import glance
from hvsim.toolstack.host.store import Reader, Store
from hvsim.toolstack.xl import devices
from hvsim.toolstack.xl.command import Call, Command, find_domain
from hvsim.toolstack.xl.rows import XlInterfaceRow

HEADER = (
    f"{'Idx':<3} {'BE':<2} {'Mac Addr.':<17} {'handle':<6} {'state':<5} {'evt-ch':<6} "
    f"{'tx-/rx-ring-ref':>17} {'BE-path':<30}"
)


async def network_list(call: Call) -> int:
    """xl network-list domain...: an unknown domain makes the exit code 1.

    Ours besides: --statistics, and the same figures with --json, as each half counts them.
    """
    words = LIST.parse(call)
    rows: list[XlInterfaceRow] = []
    code = 0
    async with glance(call.toolstack, call.reply) as store:
        for text in words.rest:
            domid = await call.toolstack.find(store, text)
            if domid is None:
                await call.reply.err(f"{text} is an invalid domain identifier (rc=-6)")
                code = 1
                continue
            rows += await interfaces(store, domid)
        live = await store.live()
        if (call.json or words.any("json", "statistics")) and live is not None:
            await _count(live, rows)
    if call.json or "json" in words:
        return await call.data(rows) or code
    lines = [HEADER]
    for row in rows:
        lines.append(
            f"{row['devid']:<3d} {row['backend_domid']:<2d} {row['mac']:<17}{row['handle']:6d} "
            f"{row['state']:5d} {row['event_channel']:6d} "
            f"{row['tx_ring_ref']:5d}/{row['rx_ring_ref']:<11d} {row['backend']:<30}"
        )
        if "statistics" in words:
            lines.append(f"    frontend: {_figures(row.get('frontend'))}")
            lines.append(f"    backend:  {_figures(row.get('backend_half'))}")
    call.reply.data = rows
    await call.reply.out(*lines)
    return code


async def interfaces(store: Reader, domid: int) -> list[XlInterfaceRow]:
    """The interfaces of a domain, as xl finds them: libxl's list, and the frontend's own words."""
    root = INTERFACES.root(domid)
    rows: list[XlInterfaceRow] = []
    for name in filter(str.isdecimal, await store.children(root)):
        front = Device(domid, INTERFACES.kind, int(name), 0).frontend
        keys = ("state", "event-channel", "tx-ring-ref", "rx-ring-ref")
        backend, mac, handle, *front_values = await store.read_many(
            [f"{root}/{name}/{key}" for key in ("backend", "mac", "handle")]
            + [f"{front}/{key}" for key in keys]
        )
        if backend is None:
            continue
        device = INTERFACES.of_backend(domid, int(name), backend)
        state, port, tx, rx = (devices.number(value) for value in front_values)
        rows.append(
            {
                "devid": int(name),
                "backend_domid": 0 if device is None else device.backend_domid,
                "mac": mac or "",
                "handle": devices.number(handle),
                "state": state,
                "event_channel": port,
                "tx_ring_ref": tx,
                "rx_ring_ref": rx,
                "backend": backend,
                "frontend_path": front,
            }
        )
    return rows


async def _count(store: Store, rows: list[XlInterfaceRow]) -> None:
    """Ask both halves of every interface for their figures; None where one does not answer."""
    halves = [half for row in rows for half in (row["frontend_path"], row["backend"])]
    found = iter(await counters.ask(store, halves))
    for row in rows:
        row["frontend"], row["backend_half"] = next(found), next(found)


def _figures(found: dict[str, int] | None) -> str:
    """For a reader: what passed, and every other figure that is not zero."""
    if found is None:
        return "does not answer"
    passed = ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes")
    return " ".join(f"{name}={n}" for name, n in found.items() if n or name in passed)


async def network_attach(call: Call) -> int:
    """xl network-attach domain [key=value ...]."""
    args = ATTACH.parse(call).rest
    toolstack = call.toolstack
    async with toolstack.store() as store:
        domid = await find_domain(call, store, args[0])
        parsed = parse_vif([word for arg in args[1:] for word in words_of(arg)])
        await call.reply.err(*[line for line in parsed.said if line not in parsed.bad])
        if parsed.bad:
            raise ToolstackError(parsed.bad[0])
        if call.dryrun:
            await call.reply.text(f"vif: {render(vif_tree(parsed.vif))}\n")
            return 0
        guest = toolstack.guest(domid)
        if guest is None:
            raise ToolstackError(f"Error: Domain '{args[0]}' does not exist.")
        vif = parsed.vif

        async def planned() -> Attached:
            devid = await next_number(store, domid) if vif.devid is None else vif.devid
            return await plan(toolstack, store, domid, guest.uuid, devid, vif)

        await devices.attach(call, store, guest, INTERFACES, planned)
    return 0


async def network_detach(call: Call) -> int:
    """xl network-detach domain devid|mac."""
    args = DETACH.parse(call).rest
    async with call.toolstack.store() as store:
        domid = await find_domain(call, store, args[0])
        device = await lookup(store, domid, args[1])
        failed = "libxl_device_nic_del failed."
        await devices.detach(call, store, INTERFACES, device, Force.AUTO, failed)
    return 0


LIST = Command(
    "network-list",
    network_list,
    long=("statistics",),
    wanted=1,
    example="xl network-list guest",
)
ATTACH = Command(
    "network-attach", network_attach, wanted=1, example="xl network-attach guest bridge=xenbr0"
)
DETACH = Command("network-detach", network_detach, wanted=2, example="xl network-detach guest 0")
COMMANDS = (LIST, ATTACH, DETACH)
