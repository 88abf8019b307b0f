"""xl console: where the console of a domain is.

The terminal itself is the client's business (``console_client``): it opens the pty that
xenconsoled serves.
"""

from hvsim.toolstack.errors import ToolstackError
from hvsim.toolstack.layout import domain_path
from hvsim.toolstack.xl.command import Call, Command, UsageError, find_domain, options


async def run(call: Call) -> int:
    """xl console domain: answers with the path of the pty."""
    _, args = options([word for word in call.args if word not in ("-t", "pv", "-n", "0")])
    if not args:
        raise UsageError("'xl console' requires at least 1 argument.")
    async with call.toolstack.store() as store:
        domid = await find_domain(call, store, args[0])
        if domid == 0:
            raise ToolstackError("Can't specify Domain-0", code=22)
        tty = await store.read(f"{domain_path(domid)}/console/tty")
    if not tty:
        raise ToolstackError(
            f"libxl: error: libxl_console.c:171:libxl_console_get_tty: unable to read console "
            f"tty path `{domain_path(domid)}/console/tty': No such file or directory",
            "Unable to attach console",
        )
    call.reply.data = {"tty": tty, "domid": domid}
    return 0


COMMAND = Command("console", "Attach to domain's console", "[options] <Domain>", run,
                  "Ctrl-] leaves the console.", example="xl console guest")
