"""xl console: where the console of a domain is.

The terminal itself is the client's business (``console_client``): it opens the pty that
xenconsoled serves.
"""

from hvsim.toolstack.host.errors import ToolstackError, libxl
from hvsim.toolstack.host.nodes import domain_path
from hvsim.toolstack.host.store import Store
from hvsim.toolstack.xl.command import Call, Command, find_domain

TYPES = ("pv", "serial", "vuart")


async def run(call: Call) -> int:
    """xl console [-t type] [-n number] domain: answers with the path of the pty."""
    words = COMMAND.parse(call)
    kind = words.value("t") or "pv"
    # As in xl a number means something only with a type.
    number = words.value("n") or "0" if "t" in words else "0"
    if kind not in TYPES:
        raise ToolstackError("console type supported are: pv, serial, vuart")
    async with call.toolstack.store() as store:
        domid = await find_domain(call, store, words.rest[0])
        if domid == 0:
            raise ToolstackError("Can't specify Domain-0", code=22)
        tty = await tty_of(store, domid, int(number) if number.isdecimal() else 0)
    if kind != "pv" or not tty:
        path = f"{domain_path(domid)}/{'console' if kind == 'pv' else kind}/tty"
        raise ToolstackError(
            libxl(
                f"libxl_console.c:108:libxl_console_get_tty: Domain {domid}:Unable to read console "
                f"tty path `{path}': No such file or directory"
            ),
            "Unable to attach console",
        )
    call.reply.data = {"tty": tty, "domid": domid, "attach": True}
    return 0


async def tty_of(store: Store, domid: int, number: int = 0) -> str | None:
    """The pty of a console: the first, or one that a config asked for besides."""
    base = domain_path(domid)
    return await store.read(
        f"{base}/console/tty" if number == 0 else f"{base}/device/console/{number}/tty"
    )


COMMAND = Command(
    "console",
    run,
    "n:t:e:",
    wanted=1,
    example="xl console guest       # Ctrl-] leaves it",
)
COMMANDS = (COMMAND,)
