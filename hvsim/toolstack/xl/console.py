"""xl console: where the console of a domain is.

The terminal itself is the client's business (``console_client``): it opens the pty that
xenconsoled serves.
"""

from collections.abc import Sequence

from hvsim.toolstack.errors import ToolstackError
from hvsim.toolstack.layout import domain_path
from hvsim.toolstack.xl.command import Call, Command, UsageError, find_domain, options


async def run(call: Call) -> int:
    """xl console domain: answers with the path of the pty."""
    _, args = options(_only_pv(call.args))
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


def _only_pv(args: Sequence[str]) -> list[str]:
    """The words without ``-t pv`` and ``-n 0``: every domain has one console, of that kind.

    Raises: UsageError for another type or number.
    """
    words = list(args)
    for flag, value in (("-t", "pv"), ("-n", "0")):
        if flag in words:
            place = words.index(flag)
            if words[place + 1 : place + 2] != [value]:
                raise UsageError(f"'xl console' knows no {flag} but {flag} {value}.")
            del words[place : place + 2]
    return words


COMMAND = Command(
    "console",
    "Attach to domain's console",
    "[options] <Domain>",
    run,
    "Ctrl-] leaves the console.",
    example="xl console guest",
)
