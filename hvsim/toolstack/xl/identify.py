"""xl domid, domname: from a domain's name to its number and back."""

from hvsim.toolstack.errors import ToolstackError
from hvsim.toolstack.layout import domain_path
from hvsim.toolstack.names import number
from hvsim.toolstack.xl.command import Call, Command, UsageError, options


async def domid(call: Call) -> int:
    """xl domid name."""
    _, args = options(call.args)
    if not args:
        raise UsageError("'xl domid' requires at least 1 argument.")
    async with call.toolstack.glance(call.reply) as store:
        infos = call.toolstack.hypervisor.domains()
        names = await call.toolstack.names(store, infos)
    for info, name in zip(infos, names, strict=True):
        if name == args[0]:
            call.reply.data = info.domid
            await call.reply.out(str(info.domid))
            return 0
    raise ToolstackError(
        f"Can't get domid of domain name '{args[0]}', maybe this domain does not exist."
    )


async def domname(call: Call) -> int:
    """xl domname number."""
    _, args = options(call.args)
    if not args:
        raise UsageError("'xl domname' requires at least 1 argument.")
    name = None
    domid = number(args[0])
    if domid is not None:
        async with call.toolstack.glance(call.reply) as store:
            name = await store.read(f"{domain_path(domid)}/name")
    if not name:
        raise ToolstackError(
            f"Can't get domain name of domain id '{args[0]}', maybe this domain does not exist."
        )
    call.reply.data = name
    await call.reply.out(name)
    return 0


DOMID = Command(
    "domid", "Convert a domain name to domain id", "<DomainName>", domid, example="xl domid guest"
)
DOMNAME = Command(
    "domname", "Convert a domain id to domain name", "<DomainId>", domname, example="xl domname 1"
)
