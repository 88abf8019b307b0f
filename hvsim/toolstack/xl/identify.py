"""xl domid, domname, rename: from a domain's name to its number and back, and another name."""

from hvsim.names.domain import number, unfit
from hvsim.toolstack.host.errors import ToolstackError, libxl
from hvsim.toolstack.host.glance import glance
from hvsim.toolstack.host.nodes import domain_path, write
from hvsim.toolstack.xl.command import Call, Command, find_domain


async def domid(call: Call) -> int:
    """xl domid name."""
    wanted = DOMID.parse(call).rest[0]
    async with glance(call.toolstack, call.reply) as store:
        infos = call.toolstack.hypervisor.domains()
        names = await call.toolstack.names(store, infos)
    for info, name in zip(infos, names, strict=True):
        if name == wanted:
            call.reply.data = info.domid
            await call.reply.out(str(info.domid))
            return 0
    raise ToolstackError(
        f"Can't get domid of domain name '{wanted}', maybe this domain does not exist."
    )


async def domname(call: Call) -> int:
    """xl domname number."""
    wanted = DOMNAME.parse(call).rest[0]
    domid = number(wanted)
    if domid is None:
        raise ToolstackError("Invalid domain id.")
    async with glance(call.toolstack, call.reply) as store:
        name = await store.read(f"{domain_path(domid)}/name")
    if not name:
        raise ToolstackError(
            f"Can't get domain name of domain id '{wanted}', maybe this domain does not exist."
        )
    call.reply.data = name
    await call.reply.out(name)
    return 0


async def rename(call: Call) -> int:
    """xl rename domain name."""
    old, new = RENAME.parse(call).rest[:2]
    toolstack = call.toolstack
    async with toolstack.store() as store:
        found = await find_domain(call, store, old)
        names = await toolstack.names(store, toolstack.hypervisor.domains())
        if new in names and new != await store.read(f"{domain_path(found)}/name"):
            raise ToolstackError(
                libxl(
                    f"libxl_domain.c:81:libxl__domain_rename: Domain {found}:Domain with name "
                    f'"{new}" already exists.'
                ),
                f"Can't rename domain '{old}'.",
            )
        wrong = unfit(new)
        if wrong is not None:
            said = f"xl: name: {'; '.join(wrong)}"
            raise ToolstackError(said, f"Can't rename domain '{old}'.")
        vm = await store.read(f"{domain_path(found)}/vm")
        batch = write(f"{domain_path(found)}/name", new)
        if vm and vm.startswith("/vm/"):
            batch += write(f"{vm}/name", new)
        await store.commit(batch, f"the name of domain {found}")
    guest = toolstack.guest(found)
    if guest is not None:
        guest.name = new
    return 0


DOMID = Command("domid", domid, wanted=1, example="xl domid guest")
DOMNAME = Command("domname", domname, wanted=1, example="xl domname 1")
RENAME = Command("rename", rename, wanted=2, example="xl rename guest other")
COMMANDS = (DOMID, DOMNAME, RENAME)
